/*
 * What the kernel alone costs: no server that makes one system call for an
 * answer or a delivery can be cheaper.  It understands nothing.
 *
 *   floor http PORT     one ready answer for each blank line
 *   floor fanout PORT   who says S subscribes; each 100 bytes of anybody else go to all of them
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST = 4096, MESSAGE = 100 };
static const char ANSWER[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 18\r\n\r\n{\"status\":\"alive\"}";

int main(int count, char **words) {
    if (count != 3) return 2;
    int web = !strcmp(words[1], "http"), one = 1, subscribers[MOST], many = 0, held = 0;
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(atoi(words[2])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int port = socket(AF_INET, SOCK_STREAM, 0), epoll = epoll_create1(0);
    setsockopt(port, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(port, (struct sockaddr *)&here, sizeof here) || listen(port, 1024)) return 1;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = port}, events[256];
    epoll_ctl(epoll, EPOLL_CTL_ADD, port, &event);
    for (;;) {
        int ready = epoll_wait(epoll, events, 256, -1);
        for (int e = 0; e < ready; e++) {
            static char came[65536], out[1 << 20], kept[65536 + MESSAGE];
            int fd = events[e].data.fd;
            if (fd == port) {
                event.data.fd = accept(port, NULL, NULL);
                setsockopt(event.data.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                epoll_ctl(epoll, EPOLL_CTL_ADD, event.data.fd, &event);
                continue;
            }
            ssize_t length = recv(fd, came, sizeof came, 0);
            if (length <= 0) {
                close(fd);
            } else if (web) {
                int size = 0;
                for (char *at = came; (at = memmem(at, came + length - at, "\r\n\r\n", 4)); at += 4, size += sizeof ANSWER - 1)
                    memcpy(out + size, ANSWER, sizeof ANSWER - 1);
                send(fd, out, size, MSG_NOSIGNAL);
            } else if (came[0] == 'S') {
                if (many < MOST) subscribers[many++] = fd;
            } else {
                memcpy(kept + held, came, length);
                held += length;
                int at = 0;
                for (; held - at >= MESSAGE; at += MESSAGE)
                    for (int i = 0; i < many; i++) send(subscribers[i], kept + at, MESSAGE, MSG_NOSIGNAL);
                memmove(kept, kept + at, held -= at);
            }
        }
    }
}
