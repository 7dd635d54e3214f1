#!/usr/bin/python3
"""Do the tests of rules see a broken rule? Each mutant is one change to shm/ or to broker/; its test must fail on every one.

mutants.py [--third] SOURCE_ROOT [CC [PROGRAM]]      exit 1: a mutant survived, or no longer applies

--third: every third one, another third each day. So CI sees all of them in three days, in a third of the time.

Everything is compiled once as it stands. A mutant then costs the files that see its change, a link, and a run until the first failure.
"""
import concurrent.futures
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import mutate

# Not among them: "parts: charge, sum, no second reading of the clock". Today a checker that sleeps so long that words are reused finds
# ids ahead of its own, and its permit is past use_by_ns; three defences would have to go at once.
# name, then once or more: file, the line as it stands, the line as it would be wrong
MUTANTS = [
    ("plain TAT refund", "weir_bucket.h", "n_ns > elapsed ? n_ns - elapsed : 0", "n_ns > elapsed ? n_ns : n_ns"),
    ("a refund by the clock before the word", "weir_limit.c", "weir_clock_now(grant->clock), n_ns", "grant->now_ns, n_ns"),
    ("no straddle", "weir_window.h", ">= cache->length_ns ? 2 : 1", ">= cache->length_ns ? 1 : 1"),
    ("estimate instead of earliest arrival", "weir_window.h", "? server_ns - error_ns : server_ns", "? server_ns : server_ns"),
    ("full quota however wide", "weir_window.h", "if (WEIR_LIKELY(width_ns <= limit->window_ns))", "if (width_ns < UINT64_MAX)"),
    ("refund regardless of window", "weir_limit.c", "weir_window_id(seen) != k ||", ""),
    ("half a straddle stays", "weir_limit.c", "        if (half) {\n            (void)window_give", "        if (false) {\n            (void)window_give"),
    ("no roll-back", "weir_permit.c", "if ((taken >> i & 1U) != 0 &&", "if ((taken >> i & 1U) == 8 &&",
     "weir_express.c", "(void)weir_limit_give(&at, &e->charge[l->place], &grant);", "(void)at;"),
    ("no reserve", "weir_window.h", "if (limit->release_q64[priority] == 0 &&", "if (limit->release_q64[priority] < UINT64_MAX ||"),
    ("reserve without floor", "weir_window.h", ": limit->reserve_min[priority];", ": 0;"),
    ("refund on another timeline", "weir_settle.c", "(uint16_t)c->grant.epoch.seen != c->clock_epoch", "false"),
    ("no look at the clock once the word has moved", "weir_limit.c", "if (time->epoch.now != NULL &&", "if (0 > 1 && time->epoch.now != NULL &&",
     "weir_permit.c", "a->clock_seq)) {", "a->clock_seq) && a == NULL) {",
     "weir_express.c", "!clock || weir_load_acquire_u64(e->clock_seq) == e->seq;", "clock || !clock;",
     "weir_express.c", "if (!l->is_bucket && weir_load_acquire", "if (false && weir_load_acquire"),
    ("re-alignment carries nothing", "weir_limit_repair.c", "return overwritten && recent ? weir_limit_peak(row) : units;", "return 0;"),
    ("re-alignment forgets what was overwritten", "weir_limit_repair.c", "return overwritten && recent ?", "return false ?"),
    ("re-alignment marks the earliest windows", "weir_limit_repair.c", "return exact ? latest : weir_max_u64(latest, first + 1);", "return exact ? first : first + 1;"),
    ("re-alignment trusts a clock that is not exact", "weir_limit_repair.c", "return exact ? latest :", "return exact || latest > 0 ? latest :"),
    ("shrinking error without re-alignment", "weir_limit_repair.c", "return apart || weir_window_cap", "return apart || (0 > 1) && weir_window_cap"),
    ("charge of what is left", "weir_limit.h", "if (WEIR_UNLIKELY(wanted > cap))", "if (WEIR_UNLIKELY(wanted - units >= cap))"),
    ("cells: half a span", "weir_sliding.h", "now_ns - stamp_ns >= span_ns)", "now_ns - stamp_ns >= span_ns / 2)"),
    ("sliding: no delay in the span", "weir_sliding.h", "/ 1000000U) + jitter_ns;", "/ 1000000U) + 0 * jitter_ns;"),
    ("cells: gives back whatever stands there", "weir_sliding.c", "    while (given < charge->units && cell_mine(row, cell, &at, &left, grant->stamp_ns)) {\n        uint64_t mine = grant->stamp_ns;", "    while (given < charge->units && left > 0) {\n        uint64_t mine = cell[at];"),
    ("cells: nobody counts out of order", "weir_sliding.c", "bool sorted = weir_load_relaxed_u64(&p->word->unsorted_until_ns) <= now_ns;", "bool sorted = weir_load_relaxed_u64(&p->word->unsorted_until_ns) < UINT64_MAX || now_ns == 0;"),
    ("cells: who passes a young one does not say so", "weir_sliding.c", "            cells_unsorted(row, p->word, now_ns);\n            WEIR_WEAVE(\"sliding:help\");", "            WEIR_WEAVE(\"sliding:help\");"),
    ("cells: who was overtaken does not say so", "weir_sliding.c", "row->cell_cnt - 1)) > now_ns;", "row->cell_cnt - 1)) > now_ns + UINT64_MAX / 2;"),
    ("cells: takes without a look", "weir_sliding.c", "           cells_run(p, first, now_ns, pick);", "           cells_run(p, first, now_ns, pick) || kept != UINT64_MAX;"),
    ("parts: sums before it charges only", "weir_sliding.c", "bool sane = parts_sum(p->cell, part, &sum);", "bool sane = true; sum = 0;"),
    ("parts: forgets the oldest part", "weir_sliding.c", "*sum += diff >= -(int32_t)WEIR_SLIDING_PARTS &&", "*sum += diff > -(int32_t)WEIR_SLIDING_PARTS / 2 &&"),
    ("parts: does not see faster clocks", "weir_sliding.c", "*sum += diff >= -(int32_t)WEIR_SLIDING_PARTS && word != 0", "*sum += diff >= -(int32_t)WEIR_SLIDING_PARTS && diff <= 0 && word != 0"),
    ("units: no rest", "weir_concurrency.h", "now_ns >= cell && now_ns - cell >= rest_ns)", "rest_ns + now_ns > 0)"),
    ("units: of the dead rest like others", "weir_concurrency.c", "const uint64_t next = weir_max_u64(now_ns + row->ahead_ns, 1);\n    const uint64_t latest_ns", "const uint64_t next = weir_max_u64(now_ns, 1);\n    const uint64_t latest_ns"),
    ("units: of the dead rest from a while ago", "weir_concurrency.c", "const uint64_t next = weir_max_u64(now_ns + row->ahead_ns, 1);\n    const uint64_t latest_ns", "const uint64_t next = weir_max_u64(now_ns + (row->ahead_ns - row->ahead_ns / 8), 1);\n    const uint64_t latest_ns"),
    ("units: a settle lets go another's", "weir_concurrency.c", "if (unit_load(cell, at) == owner) {", "if (weir_unit_held(seen = unit_load(cell, at))) {"),
    ("units: takes what is held", "weir_concurrency.h", "return cell == 0 || (!weir_unit_held(cell) &&", "return cell == 0 || weir_unit_held(cell) || ("),
    ("an end gives all back", "weir_settle.c", "part.units = charge->units - units;", "part.units = charge->units;"),
    ("straddle proven without the clock's error", "weir_straddle.c", "(uint64_t)clock->offset_ns + error_ns;", "(uint64_t)clock->offset_ns;"),
    ("straddle proven by the answer alone", "weir_straddle.c", "return into_ns + (high_ns - low_ns) < length_ns;", "return true;"),
    ("straddle gives the counted window back", "weir_straddle.c", "other.window = counted == c->window ?", "other.window = counted != c->window ?"),
    ("straddle given back on another timeline", "weir_straddle.c", "(uint16_t)epoch.seen != permit->clock_epoch ||", ""),
    ("charges nothing", "weir_limit.h", "own + units);", "own);"),
    ("kept windows never end", "weir_express.c", "t->now_ns - e->from_ns >= e->length_ns)", "false)"),
    ("kept windows forget the delay", "weir_window.h", "length_ns -= clock->jitter_ns + 2 * error_ns;", "length_ns -= error_ns;"),
    ("kept windows outlive their clock", "weir_express.c", "clock_seq != e->seq ||", "false ||"),
    ("express: the cost is not counted", "weir_limit.h", "uint64_t taken = others + units + kept;", "uint64_t taken = others + kept;"),
    ("express: whoever was slower charges nothing", "weir_express.c", "if (weir_cas_u64(l->at, &seen, next)) {", "if (true) {"),
]

# Where a mutant only changes one kind, schedules of that kind find it sooner (enum weir_limit_kind).
KINDS = {"weir_window": "2", "weir_limit_repair": "2", "weir_sliding": "3", "weir_concurrency": "4", "weir_straddle": "2", "weir_express": "2"}
NAMED_KINDS = {"a refund by the clock before the word": "1"}
# Seen about once in 10 000 to 100 000 schedules: begin where it is seen soon. Where that is no longer so, it only takes longer.
SEEDS = {
    "re-alignment forgets what was overwritten": "51900",
    "refund on another timeline": "6000",
    "no look at the clock once the word has moved": "6500",
    "straddle given back on another timeline": "10300",
    "a raise of an ended timeline counts": "20314300",
    "old ceilings survive a re-alignment": "20333200",
}

# The same for pauses and the way back from them: prop_reopen.
REOPEN_MUTANTS = [
    ("a probe for everybody", "weir_reopen.h", "now_ns - since_ns >= rule->lease_ns)", "now_ns >= since_ns)"),
    ("a probe's lease never ends", "weir_reopen.h", "now_ns - since_ns >= rule->lease_ns)", "now_ns - since_ns > UINT64_MAX / 2)"),
    ("a ramp of an earlier pause counts", "weir_reopen.h", "bool ours = since_ns >= until_ns && ", "bool ours = "),
    ("a word ahead of the clock counts", "weir_reopen.h", " && since_ns <= now_ns;", ";"),
    ("one more in each step", "weir_reopen.h", "cnt >= UINT32_C(1) << step", "cnt > UINT32_C(1) << step"),
    ("each step counts on", "weir_reopen.h", ": weir_reopen_step(word) == step ? weir_reopen_cnt(word)", ": weir_reopen_step(word) == step ? 0"),
    ("an answer from before the pause opens", "weir_hold.c", "permit->granted_at_ns < words.until_ns) {", "false) {"),
    ("no answer opens", "weir_hold.c", "if (weir_cas_u64(&pause->reopen, &seen, next))", "if (true)"),
    ("a claim overwrites", "weir_hold.c", "if (weir_cas_u64(&view->pause[place].reopen, &seen, next))",
     "if (weir_xchg_u64(&view->pause[place].reopen, next) + 1 != 0 || seen == 0)"),
    ("no claim", "weir_permit.c", "? place_claim(view, ask, &a, permit)", "? WEIR_OK"),
    ("a refused claim passes", "weir_permit.c", "if (hold == WEIR_HOLD_CLAIM || hold == WEIR_HOLD_NONE) {", "if (hold != WEIR_HOLD_CONTENDED) {"),
    ("gives back another's probe", "weir_reopen.h", " && weir_reopen_ticket(seen) == ticket &&", " &&"),
    ("a late stop pauses again", "weir_pause.h", "bool begins = now_at == generation;", "bool begins = true;"),
    ("a pause raises no generation", "weir_pause.h", "begins ? now_at + 1U : now_at", "now_at"),
    ("a burst goes on behind its pause", "weir_pause.h", " &&\n                    weir_pause_holds(seen, now_ns);", ";"),
]


# Who may take what a limit has: prop_shares.
SHARE_MUTANTS = [
    ("claims are never released", "weir_share.c", "    return weir_min_u64(unused,", "    return weir_max_u64(unused,"),
    ("claims of used parts", "weir_share.c", "part > j->have[e] ? part - j->have[e] : 0", "part > j->have[e] ? part : 0"),
    ("claims are lent at once", "weir_share.c", "j->used + j->need + claims <= whole", "j->used + j->need + 0 * claims <= whole"),
    ("floors do not count", "weir_share.c", "high + window_claims(j, true, j->cap, left_ns)", "high"),
    ("a floor leaves all headroom", "weir_share.c", "*judged = floor ? WEIR_PRIORITY_HIGH : j->ask->priority;", "*judged = j->ask->priority;"),
    ("critical leaves shares", "weir_share.c", "ask->priority == WEIR_PRIORITY_CRITICAL ||", "ask->priority > WEIR_PRIORITY_BACKGROUND ||"),
    ("shares are not charged", "weir_share.c", "have + units, UINT32_MAX", "have, UINT32_MAX"),
    ("give-backs are forgotten", "weir_settle.c", "weir_share_give(at, charge, charge->units - units,", "weir_share_give(at, charge, 0 * units,"),
    ("whoever is not first has no share", "weir_share.c", "                                                : e + 1 == j->ask->member;", "                                                : e == 0 && j->ask->member == 1;"),
    ("by the wrong uid", "weir_share.c", "entry[e].uid == uid", "entry[e].uid != uid"),
    ("idle buckets keep all", "weir_share.c", "return weir_min_u64(now_ns - tat, depth_ns > least_ns ? depth_ns - least_ns : 0);", "return 0 * least_ns * now_ns;"),
    ("idle buckets keep nothing", "weir_share.c", "depth_ns > least_ns ? depth_ns - least_ns : 0);", "depth_ns);"),
    ("what was borrowed is a debt", "weir_share.c", "now_ns + weir_min_u64(ahead_ns + n_ns, depth_ns)", "now_ns + ahead_ns + n_ns"),
    ("bucket floors do not count", "weir_share.c", "high_ns - floors_ns);\n    uint64_t claims_ns", "high_ns);\n    uint64_t claims_ns"),
    ("promises of the window's end", "weir_share.c", "*(window_fits(j, left_ns - middle) ? &yes : &no) = middle;", "no = middle;"),
]


# Where a sliding window in cells has room: test_cells.
ROOM_MUTANTS = [
    ("units: a rest ahead of the clock is damage", "shm/weir_concurrency.c", "now_ns + weir_max_u64(row->ahead_ns, row->ahead_peak_ns) + WEIR_NS_PER_S;", "now_ns + WEIR_NS_PER_S;"),
    ("units: the longest rest ahead is today's", "shm/weir_concurrency.c", "weir_max_u64(row->ahead_ns, row->ahead_peak_ns)", "row->ahead_ns"),
    ("units: whatever is ahead of the clock is a rest", "shm/weir_concurrency.c", "seen > latest_ns;", "seen > latest_ns && latest_ns == 0;"),
    ("units: at a start they rest like settled ones", "shm/weir_concurrency.c", "const uint64_t next = weir_max_u64(now_ns + row->ahead_ns, 1);\n    for", "const uint64_t next = weir_max_u64(now_ns, 1);\n    for"),
    ("units: a shorter rest frees what rests", "shm/weir_concurrency.c", "seen + (old->span_ns - row->span_ns))", "seen)"),
    ("a give-back does not say that it leaves a gap", "shm/weir_sliding.c", "    cells_unsorted(row, word, grant->now_ns);\n    while (given", "    while (given"),
    ("who takes aside does not say so", "shm/weir_sliding.c", "        if (pick.aside ||", "        if ((pick.aside && tries > TAKE_TRIES) ||"),
    ("a surcharge that was overtaken does not say so", "shm/weir_sliding.c", "    bool aside = cell_overtaken(p, at, now_ns);", "    bool aside = false;"),
    ("a renewed call does not say so", "shm/weir_sliding.c", "    cells_unsorted(row, word, now_ns);\n    while (renewed", "    while (renewed"),
    ("a renewed call claims what others hold", "shm/weir_sliding.c", "        charge->units = renewed + cells_add(&p, now_ns);", "        (void)cells_add;\n        (void)p;"),
    ("a renewed call that lost its cells is not charged again", "shm/weir_sliding.c", "        charge->units = renewed + cells_add(&p, now_ns);", "        charge->units = renewed;\n        (void)cells_add;\n        (void)p;"),
    ("a refusal promises the next cell, however many it wants", "shm/weir_sliding.c", "next[weir_min_u64(need - old, next_cnt) - 1]", "next[weir_min_u64(need - old, 1) - 1]"),
    ("only cells side by side are taken", "shm/weir_sliding.c", "        if (old < p->units) {\n            pick", "        if (old < p->units && (old == 0 || at == pick->at[old - 1] + 1)) {\n            pick"),
    ("gives back side by side only", "shm/weir_sliding.c", "    uint32_t left = at < row->cell_cnt ? row->cell_cnt : 0;\n    uint32_t first = at;", "    uint32_t left = at < row->cell_cnt ? charge->units : 0;\n    uint32_t first = at;"),
]


# And for how long to be quiet: test_backoff.
BACKOFF_MUTANTS = [
    ("jitter only upwards", "broker/backoff.c", "ns - swing_ns + weir_mulhi_u64", "ns + weir_mulhi_u64"),
    ("jitter above the longest pause", "broker/backoff.c", "2 * swing_ns + 1), rule->max_ns)", "2 * swing_ns + 1), UINT64_MAX)"),
    ("half of the jitter", "broker/backoff.c", "(random, 2 * swing_ns + 1)", "(random, swing_ns + 1)"),
    ("overflow", "broker/backoff.c", "ns > rule->max_ns / rule->factor ? rule->max_ns : ns * rule->factor", "ns * rule->factor"),
    ("no decay", "broker/backoff.c", "next > fallen ? next - fallen : 0", "next"),
    ("decays to the end at once", "broker/backoff.c", "next > fallen ? next - fallen : 0", "fallen > 0 ? 0 : next"),
    ("a level above the longest pause", "broker/backoff.c", "(longest ? 0 : 1)", "1"),
    ("each of a burst is a step", "broker/backoff.c", "if (event->left_ns < state->until_ns) {", "if (false) {"),
    ("a burst cannot make it longer", "broker/backoff.c", "(holds || event->cause == WEIR_PAUSE_BANNED)", "event->cause == WEIR_PAUSE_BANNED"),
    ("a late stop pauses again", "broker/backoff.c", "(holds || event->cause == WEIR_PAUSE_BANNED)", "true"),
    ("a resume is forgotten", "broker/backoff.c", "if (event->left_ns < state->resumed_ns) {", "if (false) {"),
    ("what the answer names is ignored", "broker/backoff.c", "weir_max_u64(weir_min_u64(until_ns, latest_ns), told_ns)", "weir_min_u64(until_ns, latest_ns)"),
    ("the backoff is ignored", "broker/backoff.c", "weir_max_u64(weir_min_u64(until_ns, latest_ns), told_ns)", "told_ns > 0 ? told_ns : until_ns"),
    ("traders pause for as long as they like", "broker/backoff.c", "event->now_ns + event->most_ns : UINT64_MAX", "UINT64_MAX : UINT64_MAX"),
    ("traders raise the level without end", "broker/backoff.c", "while (event->most_ns > 0 && ", "while (false && "),
]


# What the journal remembers: prop_memory.
MEMORY_MUTANTS = [
    ("no budget while the clock is unknown", "broker/ceiling.c", "if (m->base_until_ns == 0 || clock", "if (m->base_until_ns != 1 || clock"),
    ("published though the write failed", "broker/ceiling.c", "        failed(w, c, -written);", "        succeeded(w, c);"),
    ("the slot that is on disk is written", "broker/ceiling.c", "c->slot = 1 - w->region->own->journal_slot;", "c->slot = 0;"),
    ("a raise of an ended timeline counts", "broker/ceiling.c", "if (raise->epoch !=", "if (0 > 1 && raise->epoch !="),
    ("old ceilings survive a re-alignment", "broker/memory.c", "weir_store_relaxed_u64(&region->foreign[word].ceiling[i], 0);", ""),
    ("nothing floats", "broker/memory.c", "l->floating = (uint32_t)weir_min_u64(floating, quota);", "l->floating = 0;"),
    ("what floats is not counted", "broker/memory.c", "units += m->base_floating;", "units += 0;"),
    ("named windows are not counted", "broker/memory.c", "m->base_window[e] == k ? m->base_units[e] : 0;", "0;"),
    ("the base ends at once", "broker/memory.c", "x->now_ns + (named > 1 ? 2 : 1) * longest_ns + 2 * jitter_ns;", "x->now_ns + 1;"),
    ("the base is lost by the next write", "broker/memory.c", "m->base_until_ns != 0 ? m->base_units[e] : 0;", "0;"),
    ("a permit asks for no ceiling", "shm/weir_limit.h", "> weir_window_ceiling(board, k)", "> (uint64_t)cap + weir_window_ceiling(board, k)"),
    ("no room for surcharges: windows", "broker/memory.c", "l->ahead = granted ? memory_ahead(m, row) : 0;", "l->ahead = 0;"),
]

# The same for kinds without windows: prop_rolling.
ROLLING_MUTANTS = [
    ("no room for surcharges: buckets", "broker/memory_rolling.c", "b->ahead = granted ? memory_ahead(m, row) : 0;", "b->ahead = 0;"),
    ("no room for surcharges: parts", "broker/ceiling.c", "raise->disk = raise->board + memory_ahead(m, row);", "raise->disk = raise->board;"),
    ("a bucket asks for no ceiling", "shm/weir_limit.h", "*next > weir_load_relaxed_u64(ask->ceiling)", "*next == 0"),
    ("a part asks for no ceiling", "shm/weir_sliding.c", "return (int64_t)(ceiling - (before + units)) >= 0;", "return ceiling + before + units > 0;"),
    ("the take asks for no ceiling, only the plan", "shm/weir_sliding.c", "        !parts_covered(p, parts_count(p->row, p->word, p->units), p->units)) {", "        (parts_count(p->row, p->word, p->units), false)) {"),
    ("the count is read behind the parts", "broker/memory_rolling.c", "    l->part_ns = row->part_ns;\n", "    l->part_ns = row->part_ns;\n    for (uint32_t i = 0; i < WEIR_JOURNAL_PARTS; i++) {\n        l->part[i] = part_larger(cell[i], own[i]);\n    }\n    WEIR_WEAVE(\"journal:counted\");\n    extra = (int64_t)(covered - region->word[word].word[0]);\n    l->extra = extra > 0 ? (uint32_t)extra : 0;\n    return;\n"),
    ("what may have come since is forgotten", "broker/memory_rolling.c", "uint64_t extra = (uint64_t)l->extra +", "uint64_t extra = UINT64_C(0) +"),
    ("UTC is believed that nobody keeps", "broker/memory_rolling.c", "weir_min_u64(from_error_ns, between_ns);", "from_error_ns == UINT64_MAX ? 0 : weir_min_u64(from_error_ns, between_ns);"),
    ("UTC is believed to the ns", "broker/memory_rolling.c", "    return between_ns - error_ns;", "    return between_ns;"),
    ("another boot's parts as old as in this one", "broker/memory_rolling.c", "                                          : since->passed_ns;\n    *age_ns = behind_ns + passed_ns;", "                                          : since->now_ns;\n    *age_ns = behind_ns + passed_ns;"),
    ("parts are restored a part too old", "shm/weir_sliding.c", "        part -= (uint32_t)back;", "        part -= (uint32_t)back + 1;"),
    ("a renewed call is not counted", "shm/weir_sliding.c", "        parts_count_added(row, word, charge->units);\n", ""),
    ("a bucket's ceiling reaches the board first", "broker/ceiling.c", "    if (have < from + lead_ns) {\n", "    if (have < from + lead_ns) {\n        weir_store_relaxed_u64(&r->foreign[raise->word].ceiling[0], from + lead_ns);\n"),
]

# The short way answers as the long one does: test_express, where the schedules of prop_permit know of no others.
EXPRESS_MUTANTS = [
    ("express: others are not counted", "weir_limit.h", "uint64_t taken = others + units + kept;", "uint64_t taken = 0 * others + units + kept;"),
    ("express: others are asked for once", "weir_express.c", "WEIR_LIKELY(weir_load_relaxed_u64(l->foreign) == l->others)", "true"),
    ("express: nothing is kept for the classes above", "weir_express.c", "l->others, (uint32_t)l->units, kept, l->cap);", "l->others, (uint32_t)l->units, 0 * kept, l->cap);"),
    ("express: a full bucket is full until it is empty", "weir_limit.h", "tat - (room - 1);", "tat;"),
    ("express: what others use of a bucket is not counted", "weir_limit.h", "others_ns <= ask->tolerance_ns &&\n               ask->n_ns <= ask->tolerance_ns - others_ns;\n    return any ? ask->tolerance_ns - others_ns", "others_ns <= ask->tolerance_ns &&\n               ask->n_ns <= ask->tolerance_ns - others_ns;\n    return any ? ask->tolerance_ns"),
]

# Calls that are counted late, in buckets: prop_late.
LATE_MUTANTS = [
    ("late: what is open is not held", "weir_late.h", "(uint64_t)late->slow_units + late->open_units", "(uint64_t)late->slow_units"),
    ("late: an end moves nothing", "weir_late.c", "if (age_ns <= jitter_ns) {", "if (age_ns > 0) {"),
    ("late: an end moves by half", "weir_late.h", "tat + weir_min_u64(n_ns, by_ns)", "tat + weir_min_u64(n_ns, by_ns) / 2"),
    ("late: an end moves no empty bucket", "weir_late.h", "granted_at_ns + by_ns + n_ns);", "granted_at_ns + 0 * by_ns + n_ns);"),
    ("late: slow is believed and not held", "weir_late.h", "(uint64_t)late->slow_units + late->open_units", "(uint64_t)late->open_units"),
    ("late: slow falls for nothing", "weir_late.c", "weir_limit_add(at, &(struct weir_charge){0}, units,", "weir_limit_add(at, &(struct weir_charge){0}, 0 * units,"),
    ("late: slow closes the bucket", "weir_late.c", "most > dearest ? most - dearest : 0;", "most;"),
    ("late: the larger of held and others", "weir_late.c", "weir_min_u64(held + late->others_units, UINT32_MAX)", "weir_max_u64(held, late->others_units)"),
    ("late: a death lets go", "weir_late.c", "{.open_units = held,", "{.open_units = 0 * held,"),
    ("late: a death forgets others", "weir_late.c", "if (less) {", "if (!less) {", "weir_late.c", "if (!less) {\n        weir_store_relaxed_u64(&board->word[1], mine);\n    }\n    return", "if (less) {\n        weir_store_relaxed_u64(&board->word[1], mine);\n    }\n    return"),
]

# ... and its limits, which schedules meet too rarely: test_late.
LATE_UNIT_MUTANTS = [
    ("late: what is open is held too late", "weir_late.h", "return at_ns >= granted_at_ns + weir_late", "return at_ns / 2 >= granted_at_ns / 2 + weir_late"),
    ("late: slow leaves no room for others", "weir_late.c", "(shared ? SPARE_SHARED : SPARE_ALONE)", "(shared ? UINT64_MAX : SPARE_ALONE)"),
    ("late: slow takes a unit for nothing", "weir_late.c", "row->unit_ns / SLOW_PART;", "0;"),
    ("late: held without its worker as long as others are", "weir_late.c", "weir_max_u64(until_ns, late->others_until_ns) : late", "late->others_until_ns : late"),
    ("late: held is shown as others", "weir_limit.c", "s->foreign = others - s->late;", "s->foreign = others;"),
]

# What others use, from counts that fall and from counts that grow: by hand and by chance.
OTHERS_ROLLING_MUTANTS = [
    ("rolling: between two looks the bucket stood empty", "broker/rolling.c", "less(now_ns, weir_max_u64(tat_ns, r->looked_ns))", "less(now_ns, r->looked_ns)"),
    ("rolling: a report knows of no idle time", "broker/rolling.c", "ours_ns + over_ns + idle_ns", "ours_ns + over_ns"),
    ("rolling: idle time counts twice", "broker/rolling.c", "ours_ns + over_ns + idle_ns", "ours_ns + over_ns + 2 * idle_ns"),
    ("rolling: idle time is of ever", "broker/rolling.c", "r->idle_ns - r->past[i].idle_ns", "r->idle_ns"),
    ("rolling: no J before a", "broker/rolling.c", ".since_ns = less(q->sent_ns, q->jitter_ns),", ".since_ns = q->sent_ns,"),
]
OTHERS_WINDOW_MUTANTS = [
    ("feedback: what to expect never ends", "broker/feedback.c", "f->history_moved || diff(id, f->history[i].id) <= FEEDBACK_HISTORY;", "id == id;"),
    ("feedback: what to expect is lost with the timeline", "broker/feedback.c", "f->history_moved || diff", "diff"),
]

# An endpoint's breaker: prop_breaker.
BREAKER_MUTANTS = [
    ("breaker: late answers count", "broker/breaker.c", " || t.generation != b->generation) {", ") {"),
    ("breaker: any number of probes", "broker/breaker.c", "b->leased + b->passed < rule->probe_cnt", "rule->probe_cnt > 0"),
    ("breaker: a lost probe says something", "broker/breaker.c", "        b->generation++;\n        b->leased = 0;\n    }\n    uint64_t lease_ns", "        b->leased = 0;\n    }\n    uint64_t lease_ns"),
    ("breaker: a lease may last for ever", "broker/breaker.c", "now_ns + BREAKER_LEASE_MAX_NS);", "UINT64_MAX);"),
    ("breaker: a dead prober holds for ever", "broker/breaker.c", " || leases_over(b, now_ns);", ";"),
    ("breaker: throttling opens it", "broker/breaker.c", "class == WEIR_CLASS_TIMEOUT;", "class == WEIR_CLASS_TIMEOUT || class == WEIR_CLASS_THROTTLE;"),
    ("breaker: one failure too few", "broker/breaker.c", "failed < rule->failure_cnt", "failed + 1 < rule->failure_cnt"),
    ("breaker: whatever part failed", "broker/breaker.c", "failed * 1000000U < ended * rule->failed_ppm", "failed * 1000000U < rule->failed_ppm"),
    ("breaker: one probe's word is enough", "broker/breaker.c", "++b->passed >= rule->probe_cnt", "++b->passed >= 1"),
    ("breaker: a failed probe is overlooked", "broker/breaker.c", "        trip(b, rule, now_ns, class);\n        return true;\n    }\n    if (breaker_is_answer", "        return false;\n    }\n    if (breaker_is_answer"),
    ("breaker: old slices count on", "broker/breaker.c", "        b->failed[b->slice % WEIR_BREAKER_SLICES] = 0;\n", ""),
    ("breaker: a restart believes any instant", "broker/breaker.c", "open ? weir_min_u64(b->until_ns, now_ns + rule->open_ns) : 0;", "open ? b->until_ns : 0;"),
]

SHM = ["tests/support/fixture.c", "shm/*.c"]
# The programs: their mutants, their sources, their libraries.
PROGRAMS = {
    "prop_permit": (MUTANTS, ["tests/prop/prop_permit.c", "tests/prop/prop_judge.c", "tests/prop/prop_shrink.c", *SHM], "-lxxhash"),
    "prop_reopen": (REOPEN_MUTANTS, ["tests/prop/prop_reopen.c", *SHM], "-lxxhash"),
    "prop_late": (LATE_MUTANTS, ["tests/prop/prop_late.c", "tests/prop/prop_judge.c", *SHM], "-lxxhash"),
    "prop_shares": (SHARE_MUTANTS, ["tests/prop/prop_shares.c", *SHM], "-lxxhash"),
    "prop_memory": (MEMORY_MUTANTS, ["tests/prop/prop_memory.c", "broker/memory.c", "broker/memory_rolling.c", "broker/server_clock.c", "no_weave.c", *SHM], "-lxxhash"),
    "prop_rolling": (ROLLING_MUTANTS, ["tests/prop/prop_rolling.c", "broker/memory.c", "broker/memory_rolling.c", "broker/server_clock.c", *SHM], "-lxxhash"),
    "test_cells": (ROOM_MUTANTS, ["tests/unit/test_cells.c", "no_weave.c", *SHM], "-lxxhash", "-lcmocka"),
    "test_express": (EXPRESS_MUTANTS, ["tests/unit/test_express.c", "no_weave.c", *SHM], "-lxxhash", "-lcmocka"),
    "test_late": (LATE_UNIT_MUTANTS, ["tests/unit/test_late.c", "no_weave.c", *SHM], "-lxxhash", "-lcmocka"),
    "test_rolling": (OTHERS_ROLLING_MUTANTS, ["tests/unit/test_rolling.c", "broker/rolling.c"], "-lcmocka"),
    "test_feedback": (OTHERS_WINDOW_MUTANTS, ["tests/unit/test_feedback.c", "broker/feedback.c"], "-lcmocka"),
    "prop_breaker": (BREAKER_MUTANTS, ["tests/prop/prop_breaker.c", "broker/breaker.c", "no_weave.c"]),
    "test_backoff": (BACKOFF_MUTANTS, ["tests/unit/test_backoff.c", "broker/backoff.c"], "-lcmocka"),
}
FLAGS = ["-std=gnu11", "-O1", "-w", "-D_GNU_SOURCE", "-DWEIR_WEAVE_HOOKS", "-fno-strict-aliasing", "-I.", "-Ishm", "-Itests/support"]


class Tree:
    """What the programs are made of, to be changed: copies of shm/ and broker/ beside the tests as they are. Paths are relative to it."""

    def __init__(self, root, cc):
        self.cc = cc
        self.folder = tempfile.TemporaryDirectory(prefix="weir-mutant.")
        self.path = pathlib.Path(self.folder.name)
        for part in ("shm", "broker"):
            shutil.copytree(root / part, self.path / part)
        (self.path / "tests").symlink_to(root / "tests")
        (self.path / "no_weave.c").write_text("void weir_weave_hook(const char *name) { (void)name; }\n")

    def sources(self, program):
        return [str(p.relative_to(self.path)) for pattern in PROGRAMS[program][1] for p in sorted(self.path.glob(pattern))]

    def object(self, source):
        return self.path / (source.replace("/", ".") + ".o")

    def compile(self, source):
        mutate.compile_source(self.cc, FLAGS, source, self.object(source), cwd=self.path)

    def made_of(self, source):
        return mutate.made_of(self.object(source))

    def edit(self, name, edits):
        """Apply a mutant; returns the files that it changed."""
        placed = [text if at % 3 != 0 or "/" in text else "shm/" + text for at, text in enumerate(edits)]
        try:
            return mutate.edit(self.path, placed)
        except LookupError as e:
            sys.exit(f"mutants: '{name}' {e}")


def arguments_of(program, name, edits):
    if program.startswith("test_"):
        return []
    kind = NAMED_KINDS.get(name) or next((k for f, k in KINDS.items() if edits[0].startswith(f)), "0")
    seed = ["--seed", SEEDS[name]] if name in SEEDS else []
    return ["--seconds", "30", *seed] + (["--kind", kind] if program == "prop_permit" else [])


def judge(root, base, program, name, edits):
    tree = Tree(root, base.cc)
    changed = set(tree.edit(name, edits))
    objects = []
    for source in base.sources(program):
        stale = not changed.isdisjoint(base.made_of(source))
        if stale:
            tree.compile(source)
        objects.append((tree if stale else base).object(source))
    subprocess.run([base.cc, *objects, *PROGRAMS[program][2:], "-o", tree.path / "test"], check=True)
    run = subprocess.run([tree.path / "test", *arguments_of(program, name, edits)], capture_output=True, text=True, check=False)
    last = (run.stdout.strip().splitlines() or [f"status {run.returncode}"])[-1].split(": repeat")[0]
    caught = run.returncode == 1 or (program.startswith("test_") and run.returncode > 0)  # cmocka: how many failed
    return name, caught, last


def main():
    arguments = [a for a in sys.argv[1:] if a != "--third"]
    root = pathlib.Path(arguments[0]).resolve()
    base = Tree(root, arguments[1] if len(arguments) > 1 else "cc")
    programs = arguments[2:3] or list(PROGRAMS)
    jobs = [(program, mutant) for program in programs for mutant in PROGRAMS[program][0]]
    if "--third" in sys.argv:
        jobs = jobs[int(time.time() // 86400) % 3::3]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(base.compile, sorted({source for program in programs for source in base.sources(program)})))
        verdicts = pool.map(lambda j: judge(root, base, j[0], j[1][0], j[1][1:]), jobs)
        return mutate.tell(("caught  " if caught else "", name, last) for name, caught, last in verdicts)


if __name__ == "__main__":
    sys.exit(main())
