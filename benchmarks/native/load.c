/*
 * Load that costs less than the servers it is for.  The sockets are open, and
 * the conversations on them at the point where it gets serious: Python saw to
 * that.  Messages are told apart by a stamp, "@@" and eight digits, whatever
 * the frame around them: it proves that none was lost and that they came in order.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { DIGITS = 8, STAMP = 10, READ = 1 << 18, EVENTS = 256, SILENCE = 30000 /* ms */, WINDOW = 64, CHUNK = 64 };

struct report {
    double seconds;  /* from the first byte sent to the last one wanted */
    long done;       /* operations */
    long faults;     /* wrong, lost or out of order */
    float *latency;  /* milliseconds, of the first `room` operations */
    long kept, room;
};

/* What is sent again and again, with a stamp written into it. */
struct frame {
    const char *bytes;
    int length, stamp_at; /* -1: it has none */
    unsigned char pad[DIGITS]; /* what a mask makes of its digits */
};

static char chunk[READ];

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void took(struct report *r, double seconds) {
    if (r->kept < r->room) r->latency[r->kept++] = seconds * 1000;
}

static void watch(int epoll, int fd, uint32_t what, int index, int op) {
    struct epoll_event e = {.events = what, .data.u32 = index};
    epoll_ctl(epoll, op, fd, &e);
}

static void stamp(char *at, const struct frame *f, long number) {
    if (f->stamp_at < 0) return;
    for (int i = DIGITS - 1; i >= 0; i--, number /= 10) at[f->stamp_at + i] = ('0' + number % 10) ^ f->pad[i];
}

static int send_all(int fd, const char *bytes, int length) {
    while (length > 0) {
        ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent <= 0) return 0;
        bytes += sent, length -= sent;
    }
    return 1;
}

static int send_frames(int fd, const struct frame *f, long first, int count) {
    static char out[READ];
    for (int i = 0; i < count; i++) {
        memcpy(out + i * f->length, f->bytes, f->length);
        stamp(out + i * f->length, f, first + i);
    }
    return send_all(fd, out, count * f->length);
}

/* A stream that is looked through for stamps; one may come in two reads. */
struct stream {
    int fd, carried;
    char carry[STAMP];
    long next; /* number expected */
    double sent_at;
};

/* The bytes that came, with those carried over before them, or NULL. */
static char *heard(struct stream *s, long *length) {
    memcpy(chunk, s->carry, s->carried);
    ssize_t came = recv(s->fd, chunk + s->carried, READ - STAMP, MSG_DONTWAIT);
    if (came <= 0) return NULL;
    *length = came + s->carried;
    return chunk;
}

/* The next stamp's number from *at on, or -1; keeps what may be the beginning of one. */
static long stamped(struct stream *s, char **at, char *end) {
    for (char *p = *at; (p = memchr(p, '@', end - p)); p++) {
        if (end - p < STAMP) {
            if (end - p > 1 && p[1] != '@') continue;
            s->carried = end - p;
            memcpy(s->carry, p, s->carried);
            return -1;
        }
        if (p[1] != '@' || p[2] < '0' || p[2] > '9') continue;
        long number = 0;
        for (int i = 2; i < STAMP; i++) number = number * 10 + (p[i] - '0');
        *at = p + STAMP;
        return number;
    }
    s->carried = 0;
    return -1;
}

/* One publisher and n subscribers, with at most `window` messages on their way. */
void fanout(struct report *r, int publisher, const int *fds, int n, const struct frame *f, int window, double seconds) {
    int epoll = epoll_create1(0), left[WINDOW] = {0};
    struct stream *s = calloc(n, sizeof *s);
    double sent_at[WINDOW], begun = now(), end = begun + seconds, t = begun;
    long sent = 0, complete = 0;
    for (int i = 0; i < n; i++) s[i].fd = fds[i], watch(epoll, fds[i], EPOLLIN, i, EPOLL_CTL_ADD);
    watch(epoll, publisher, EPOLLIN, n, EPOLL_CTL_ADD);
    while (complete < sent || t < end) {
        int room = t < end ? window - (int)(sent - complete) : 0;
        if (room > 0) {
            for (int i = 0; i < room; i++) left[(sent + i) % WINDOW] = n, sent_at[(sent + i) % WINDOW] = t;
            if (!send_frames(publisher, f, sent, room)) break;
            sent += room;
        }
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(epoll, events, EVENTS, SILENCE);
        if (ready <= 0) break;
        for (int e = 0; e < ready; e++) {
            if ((int)events[e].data.u32 == n) {
                if (recv(publisher, chunk, READ, MSG_DONTWAIT) == 0) goto over;
                continue;
            }
            struct stream *of = &s[events[e].data.u32];
            long length, number;
            char *at = heard(of, &length), *stop = at + length;
            if (!at) goto over;
            t = now();
            while ((number = stamped(of, &at, stop)) >= 0) {
                if (number != of->next++ || number >= sent) {
                    r->faults++;
                    goto over;
                }
                r->done++;
                took(r, t - sent_at[number % WINDOW]);
                if (--left[number % WINDOW] == 0) complete++;
            }
        }
        t = now();
    }
over:
    r->faults += sent * n - r->done;
    r->seconds = now() - begun;
    free(s);
    close(epoll);
}

/* n connections that say all they can, then once more what is answered with how many that were. */
void ingest(struct report *r, const int *fds, int n, const struct frame *f, const struct frame *last, double seconds) {
    int epoll = epoll_create1(0), open = n;
    struct stream *s = calloc(n, sizeof *s);
    char *out = malloc((size_t)n * CHUNK * f->length);
    int *owed = calloc(n, sizeof *owed), size = CHUNK * f->length;
    double begun = now(), end = begun + seconds;
    for (int i = 0; i < n; i++) s[i].fd = fds[i], watch(epoll, fds[i], EPOLLIN | EPOLLOUT, i, EPOLL_CTL_ADD);
    while (open) {
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(epoll, events, EVENTS, SILENCE);
        if (ready <= 0) break;
        for (int e = 0; e < ready; e++) {
            int i = events[e].data.u32;
            char *mine = out + (size_t)i * size;
            if (events[e].events & (EPOLLIN | EPOLLERR | EPOLLHUP)) {
                long length, number;
                char *at = heard(&s[i], &length), *stop = at + length;
                if (!at) goto over;
                if ((number = stamped(&s[i], &at, stop)) >= 0) {
                    if (number != s[i].next) r->faults++;
                    r->done += s[i].next, open--;
                }
            } else if (!owed[i] && now() >= end) {
                watch(epoll, fds[i], EPOLLIN, i, EPOLL_CTL_MOD);
                if (!send_frames(fds[i], last, s[i].next, 1)) goto over;
            } else {
                if (!owed[i]) {
                    for (int k = 0; k < CHUNK; k++) {
                        memcpy(mine + k * f->length, f->bytes, f->length);
                        stamp(mine + k * f->length, f, s[i].next++);
                    }
                    owed[i] = size;
                }
                ssize_t sent = send(fds[i], mine + size - owed[i], owed[i], MSG_DONTWAIT | MSG_NOSIGNAL);
                if (sent < 0 && errno != EAGAIN) goto over;
                if (sent > 0) owed[i] -= sent;
            }
        }
    }
over:
    r->faults += open;
    r->seconds = now() - begun;
    free(s), free(out), free(owed);
    close(epoll);
}

/* n connections, each with one question on its way; an answer repeats its stamp, or holds `answer`. */
void echo(struct report *r, const int *fds, int n, const struct frame *f, const char *answer, double seconds) {
    int epoll = epoll_create1(0), waiting = n;
    struct stream *s = calloc(n, sizeof *s);
    double begun = now(), end = begun + seconds;
    for (int i = 0; i < n; i++) {
        s[i].fd = fds[i], s[i].sent_at = now();
        watch(epoll, fds[i], EPOLLIN, i, EPOLL_CTL_ADD);
        if (!send_frames(fds[i], f, 0, 1)) goto over;
    }
    while (waiting) {
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(epoll, events, EVENTS, SILENCE);
        if (ready <= 0) break;
        for (int e = 0; e < ready; e++) {
            struct stream *of = &s[events[e].data.u32];
            long length, number = of->next;
            char *at = heard(of, &length);
            if (!at) goto over;
            if (f->stamp_at < 0 ? !memmem(at, length, answer, strlen(answer))
                                : (number = stamped(of, &at, at + length)) < 0) continue;
            if (number != of->next++) r->faults++;
            r->done++;
            double t = now();
            took(r, t - of->sent_at);
            of->sent_at = t;
            if (t >= end) waiting--;
            else if (!send_frames(of->fd, f, of->next, 1)) goto over;
        }
    }
over:
    r->faults += waiting;
    r->seconds = now() - begun;
    free(s);
    close(epoll);
}
