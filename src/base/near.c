/* SPDX-License-Identifier: Apache-2.0
 * near.c - see near.h. */
#include "base/near.h"

#include <string.h>

unsigned metallm__near_distance(const char *a, const char *b)
{
    size_t la = strlen(a), lb = strlen(b);
    if (la > METALLM__NEAR_BYTES || lb > METALLM__NEAR_BYTES)
        return METALLM__NEAR_BYTES;
    unsigned row[METALLM__NEAR_BYTES + 1];
    for (unsigned j = 0; j <= lb; j++)
        row[j] = j;
    for (unsigned i = 1; i <= la; i++) {
        unsigned diagonal = row[0];
        row[0] = i;
        for (unsigned j = 1; j <= lb; j++) {
            unsigned cost = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < cost)
                cost = row[j] + 1;
            if (row[j - 1] + 1 < cost)
                cost = row[j - 1] + 1;
            row[j] = cost;
        }
    }
    return row[lb];
}

void metallm__near_offer(struct metallm__near *n, const char *name)
{
    unsigned most = strlen(n->wanted) <= 3 ? 1 : 2;
    unsigned d = metallm__near_distance(n->wanted, name);
    if (d <= most && (n->best == NULL || d < n->distance)) {
        n->best = name;
        n->distance = d;
    }
}
