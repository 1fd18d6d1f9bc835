// SPDX-License-Identifier: MIT
// Writes blocks at random places of a file, each with fdatasync, and prints what that took:
//   latency FILE SIZE_MIB BLOCK_BYTES SECONDS SEED
//   LATENCY writes_per_second p50_us p99_us max_us
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static double now_us(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1e6 + at.tv_nsec / 1e3;
}

static int compare(const void *left, const void *right)
{
    double difference = *(const double *)left - *(const double *)right;
    return (difference > 0) - (difference < 0);
}

int main(int count, char **arguments)
{
    static double taken[1000000];
    if (count != 6) {
        return 2;
    }

    long block = atol(arguments[3]), blocks = atol(arguments[2]) * 1048576 / block, writes = 0;
    double end = now_us() + atof(arguments[4]) * 1e6, start = now_us(), at = start;
    uint64_t state = strtoull(arguments[5], NULL, 10) * 2654435761u + 1;
    int file = open(arguments[1], O_RDWR | O_DIRECT);
    void *data;
    if (file < 0 || posix_memalign(&data, 4096, block)) {
        perror(arguments[1]);
        return 1;
    }

    for (memset(data, 'x', block); at < end && writes < 1000000; writes++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        if (pwrite(file, data, block, (long)((state >> 33) % blocks) * block) != block || fdatasync(file)) {
            perror(arguments[1]);
            return 1;
        }

        double then = now_us();
        taken[writes] = then - at;
        at = then;
    }

    qsort(taken, writes, sizeof *taken, compare);
    printf("LATENCY %.0f %.0f %.0f %.0f\n", writes / (at - start) * 1e6, taken[writes / 2], taken[writes * 99 / 100],
           taken[writes - 1]);
    return 0;
}
