/* SPDX-License-Identifier: Apache-2.0
 * progress.c - see progress.h. */
#include "cli/progress.h"

#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t stop_asked;

static void ask_to_stop(int signal_number)
{
    (void)signal_number;
    stop_asked = 1;
}

void cli_progress_catch_signals(void)
{
    struct sigaction action = {.sa_handler = ask_to_stop, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &action, NULL); /* a second Ctrl-C ends the tool at once */
    sigaction(SIGTERM, &action, NULL);
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void cli_progress_init(struct cli_progress *p, FILE *err)
{
    *p = (struct cli_progress){.err = err, .is_shown = isatty(fileno(err)) == 1};
}

void cli_progress_end(struct cli_progress *p)
{
    if (p->is_shown && p->drawn > 0)
        fprintf(p->err, "\r\033[K");
    p->drawn = 0;
    p->what = NULL;
}

static void draw(const struct cli_progress *p, uint64_t done, uint64_t total, double elapsed_s)
{
    double rate = elapsed_s > 0 ? (double)done / elapsed_s : 0;
    fprintf(p->err, "\r\033[K%s: %llu", p->what, (unsigned long long)done);
    if (total > 0)
        fprintf(p->err, "/%llu (%.0f %%)", (unsigned long long)total,
                100.0 * (double)done / (double)total);
    fprintf(p->err, ", %.0f/s", rate);
    if (total > done && rate > 0)
        fprintf(p->err, ", %.0f s left", (double)(total - done) / rate);
    fflush(p->err);
}

int cli_progress_step(void *payload, const char *what, uint64_t done, uint64_t total)
{
    struct cli_progress *p = payload;
    if (stop_asked)
        return 1;
    if (!p->is_shown)
        return 0;
    double now = now_s();
    if (p->what == NULL || strcmp(p->what, what) != 0) {
        p->what = what;
        p->started = now;
    }
    if (now - p->drawn >= 0.1) {
        p->drawn = now;
        draw(p, done, total, now - p->started);
    }
    return 0;
}
