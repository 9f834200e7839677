/* Requests over connections that stay, `depth` of them in one write; each answer must have the status and hold the words. */
#include "load.c"

struct request {
    const char *bytes;
    int length;
    const char *expected; /* words of the answer's body */
};

struct line {
    int fd, have, waiting;
    long first; /* of those that wait, in the list of requests */
    double sent_at;
    char came[1 << 17];
};

/* The length of the answer at `at`, 0 if it is not all there, -1 if it can't be followed; its body from *body on. */
static long answer(char *at, long have, char **body) {
    char *end = memmem(at, have, "\r\n\r\n", 4);
    if (!end) return 0;
    long head = end + 4 - at;
    *body = at + head;
    for (char *line = memmem(at, head, "\r\n", 2); line && line < end; line = memmem(line + 2, end + 2 - line, "\r\n", 2)) {
        if (strncasecmp(line + 2, "content-length:", 15) == 0) {
            long whole = head + atol(line + 17);
            return have >= whole ? whole : 0;
        }
        if (strncasecmp(line + 2, "transfer-encoding: chunked", 26) == 0) {
            char *last = memmem(*body, have - head, "\r\n0\r\n\r\n", 7);
            return last ? last + 7 - at : 0;
        }
    }
    return -1;
}

static int ask(struct line *l, const struct request *requests, int count, int depth) {
    static char out[1 << 17];
    int length = 0;
    for (int i = 0; i < depth; i++) {
        const struct request *q = &requests[(l->first + i) % count];
        if (length + q->length > (int)sizeof out) return 0;
        memcpy(out + length, q->bytes, q->length);
        length += q->length;
    }
    l->waiting = depth, l->sent_at = now();
    return send_all(l->fd, out, length);
}

void http(struct report *r, const int *fds, int n, const struct request *requests, int count, int depth, int status,
          double seconds) {
    int epoll = epoll_create1(0), open = n;
    struct line *lines = calloc(n, sizeof *lines);
    double begun = now(), end = begun + seconds;
    for (int i = 0; i < n; i++) {
        /* Far apart in a long list: what one asks for was not asked for by its neighbour a moment ago. */
        lines[i].fd = fds[i], lines[i].first = i * 7 + (long)i * (count / n);
        watch(epoll, fds[i], EPOLLIN, i, EPOLL_CTL_ADD);
        if (!ask(&lines[i], requests, count, depth)) goto over;
    }
    while (open) {
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(epoll, events, EVENTS, SILENCE);
        if (ready <= 0) break;
        for (int e = 0; e < ready; e++) {
            struct line *l = &lines[events[e].data.u32];
            ssize_t came = recv(l->fd, l->came + l->have, sizeof l->came - l->have, MSG_DONTWAIT);
            if (came <= 0) goto over;
            l->have += came;
            char *at = l->came, *stop = at + l->have, *body;
            long length = 0;
            double t = now();
            while (l->waiting && at < stop && (length = answer(at, stop - at, &body)) > 0) {
                const char *words = requests[l->first++ % count].expected;
                if (atoi(at + 9) != status || !memmem(body, at + length - body, words, strlen(words))) r->faults++;
                r->done++, l->waiting--, at += length;
                took(r, t - l->sent_at);
            }
            if (length < 0) goto over;
            l->have = stop - at;
            memmove(l->came, at, l->have);
            if (l->waiting) continue;
            if (l->have) r->faults++;
            if (t >= end) open--;
            else if (!ask(l, requests, count, depth)) goto over;
        }
    }
over:
    r->faults += open;
    r->seconds = now() - begun;
    free(lines);
    close(epoll);
}
