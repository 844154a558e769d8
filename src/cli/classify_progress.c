/* SPDX-License-Identifier: Apache-2.0
 * classify_progress.c - see classify_progress.h. */
#include "cli/classify_progress.h"

#include <string.h>
#include <unistd.h>

#include "cli/progress.h"

#define DRAW_S      0.2
#define TELL_S      10.0
#define SHARES_TOLD 3u

void cli_classify_progress_init(struct cli_classify_progress *p, FILE *err)
{
    *p = (struct cli_classify_progress){.err = err, .is_terminal = isatty(fileno(err)) == 1};
}

/* The LLMs that answered most, "small 70 % big 30 %". */
static void put_shares(char *text, size_t size, const struct metallm__run_state *s)
{
    bool told[METALLM__SUMMARY_LLMS_MAX] = {false};
    text[0] = '\0';
    for (uint32_t n = 0; n < SHARES_TOLD && s->here > 0; n++) {
        uint32_t best = s->llm_count;
        for (uint32_t m = 0; m < s->llm_count; m++)
            if (!told[m] && s->shares[m] > 0 &&
                (best == s->llm_count || s->shares[m] > s->shares[best]))
                best = m;
        if (best == s->llm_count)
            return;
        told[best] = true;
        const size_t at = strlen(text);
        snprintf(text + at, size - at, "%s%.24s %.0f %%", n > 0 ? " " : ", ", s->llms[best],
                 100 * (double)s->shares[best] / (double)s->here);
    }
}

void cli_classify_progress_line(char *text, size_t size, const struct metallm__run_state *s)
{
    char shares[160], left[40] = "";
    const double rate = s->seconds > 0 ? (double)s->here / s->seconds : 0;
    const double seconds = rate > 0 ? (double)(s->texts - s->answered) / rate : 0;
    put_shares(shares, sizeof shares, s);
    if (rate > 0 && s->answered < s->texts)
        snprintf(left, sizeof left, seconds < 100 ? ", %.0f s left" : ", %.0f min left",
                 seconds < 100 ? seconds : seconds / 60);
    snprintf(text, size, "%llu/%llu texts, %.*f/s, $%.6g%s%s", (unsigned long long)s->answered,
             (unsigned long long)s->texts, rate < 10 ? 1 : 0, rate, s->usd + s->lost_usd, shares,
             left);
}

int cli_classify_progress_tick(void *payload, const struct metallm__run *r)
{
    struct cli_classify_progress *p = payload;
    struct metallm__run_state s;
    char line[320];
    if (cli_progress_stop_signal() != 0)
        return 1;
    metallm__run_state(r, &s);
    if (s.seconds - p->told < (p->is_terminal ? DRAW_S : TELL_S))
        return 0;
    p->told = s.seconds;
    cli_classify_progress_line(line, sizeof line, &s);
    if (p->is_terminal)
        fprintf(p->err, "\r%.120s\033[K", line);
    else
        fprintf(p->err, "metallm: %s\n", line);
    fflush(p->err);
    p->is_drawn = p->is_terminal;
    return 0;
}

void cli_classify_progress_end(struct cli_classify_progress *p)
{
    if (p->is_drawn)
        fprintf(p->err, "\r\033[K");
    p->is_drawn = false;
}
