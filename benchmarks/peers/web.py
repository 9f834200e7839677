"""One small JSON answer from Starlette and from FastAPI: `uvicorn web:starlette`, `uvicorn web:fastapi`."""

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


async def live(request: Request) -> JSONResponse:
    return JSONResponse({"status": "alive"})


starlette = Starlette(routes=[Route("/health/live", live)])
fastapi = FastAPI()


@fastapi.get("/health/live")
async def alive() -> dict[str, str]:
    return {"status": "alive"}
