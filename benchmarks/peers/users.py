"""FastAPI with psycopg's pool and PyJWT: a user by id, and a message that lasts.  `uvicorn users:app`."""

import os
from contextlib import asynccontextmanager
from datetime import datetime, timezone
from typing import Annotated, Any, AsyncIterator
from uuid import UUID, uuid4

import jwt
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel, Field

SECRET = os.environ["JWT_SECRET"]
pool = AsyncConnectionPool(
    os.environ["DATABASE_URL"],
    min_size=20,
    max_size=20,
    open=False,
    kwargs={"row_factory": dict_row, "autocommit": True},
)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with pool:
        yield


app = FastAPI(lifespan=lifespan)


def caller(bearer: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]) -> dict[str, Any]:
    try:
        return jwt.decode(bearer.credentials, SECRET, algorithms=["HS256"])
    except jwt.PyJWTError:
        raise HTTPException(401) from None


Caller = Annotated[dict[str, Any], Depends(caller)]


class NewMessage(BaseModel):
    content: str = Field(min_length=1, max_length=10000)
    channelId: str = Field(min_length=1, max_length=100)


def enveloped(data: Any) -> dict[str, Any]:
    return {"success": True, "data": data, "timestamp": datetime.now(timezone.utc)}


@app.get("/api/v1/users/{user_id}")
async def user(user_id: UUID, me: Caller) -> dict[str, Any]:
    async with pool.connection() as connection:
        found = await connection.execute(
            "SELECT id, email, name, created_at, updated_at FROM bench_users WHERE id = %s",
            (user_id,),
            prepare=True,
        )
        row = await found.fetchone()
    if row is None:
        raise HTTPException(404)
    return enveloped(row)


@app.post("/api/v1/messages", status_code=201)
async def message(said: NewMessage, me: Caller) -> dict[str, Any]:
    async with pool.connection() as connection:
        made = await connection.execute(
            "INSERT INTO bench_messages (id, user_id, content, channel_id) VALUES (%s, %s, %s, %s) RETURNING *",
            (uuid4(), me["userId"], said.content, said.channelId),
            prepare=True,
        )
        return enveloped(await made.fetchone())
