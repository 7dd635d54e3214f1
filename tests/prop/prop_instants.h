/*
 * prop_instants.h: at which named instants (weir_weave.h) a schedule may weave others in.
 *
 * Not at all of them. A schedule runs one process's code inside another's: that is an interleaving of two processes only where the code is one that two processes run
 * at a time, and where the schedule's own account is not behind what the words say already. The worker meets nobody of its kind in its own code; there the
 * simulator (tests/dst) and the campaign (tests/process/weave_campaign.c) stop it and kill it. A new name is woven in once it stands here.
 */
#ifndef WEIR_TESTS_PROP_INSTANTS_H
#define WEIR_TESTS_PROP_INSTANTS_H

#include "weir_base.h"

#include <stdbool.h>
#include <string.h>

static inline bool prop_instant(const char *name)
{
    static const char *const woven[] = {
        "audit:announced",
        "audit:filled",
        "audit:published",
        "audit:recorded",
        "audit:shown",
        "audit:taken",
        "bucket:judged",
        "bucket:loaded",
        "client:board",
        "deliver:bell",
        "deliver:delivered",
        "deliver:done",
        "end:filled",
        "end:shadow_done",
        "end:trimmed",
        "gate:open",
        "gate:passed",
        "gate:sending",
        "gate:shadow_sending",
        "intake:claim",
        "intake:claimed",
        "intake:shadow_claimed",
        "intake:shadow_filled",
        "intake:shadow_free",
        "intake:taken",
        "journal:counted",
        "limit:charged",
        "limit:charged_both",
        "limit:planned",
        "permit:rolled_back_one",
        "realign:closed",
        "realign:emptied",
        "recover:call",
        "recover:unclaim",
        "reopen:answered",
        "reopen:claimed",
        "reopen:judged",
        "ring:full",
        "ring:help",
        "ring:poison",
        "ring:publish",
        "ring:published",
        "ring:put",
        "ring:put-cell",
        "ring:put-tail",
        "ring:repair-tail",
        "ring:take",
        "ring:take-begin",
        "ring:take-cell",
        "ring:take-head",
        "ring:take-tail",
        "ring:taken",
        "room:held",
        "share:charged",
        "share:permitted",
        "sliding:charged",
        "sliding:counts",
        "sliding:planned",
        "sliding:summed",
        "sliding:withdrawn",
        "units:planned",
        "units:taken",
        "worker:awake",
        "worker:sleepy",
        "late:half_said",
        "late:judged",
        "late:moved",
        "late:said",
        "late:spent",
    };
    for (size_t i = 0; i < WEIR_ARRAY_CNT(woven); i++) {
        if (strcmp(woven[i], name) == 0) {
            return true;
        }
    }
    return false;
}

#endif
