#!/usr/bin/python3
"""Does weir-dst see a broken weir? Each mutant is one change to shm/ or broker/; a seed must break on every one.

mutants.py SOURCE_ROOT [--cc CC] [--seeds N] [--first SEED] [--only TEXT] [--share K/N] [--keep DIR] [--jobs N]      exit 1: a mutant survived, or no longer applies

Seeds are tried from FIRST on until one breaks. Printed: how many it took, and which promise.
"""
import argparse
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import mutate

# name, then once or more: file, the text as it stands, the text as it would be wrong
MUTANTS = [
    # ring and slots
    ("a full ring is overwritten, and nobody sweeps", "shm/weir_ring.c", "if (pos_ahead(tail, head) >= capacity) {", "if (pos_ahead(tail, head) >= 4 * capacity) {",
     "broker/keeper.c", "            intake_sweep(w, c);\n", "            (void)c;\n"),
    ("the ring forgets what it takes, and nobody sweeps", "shm/weir_ring.c", "if (cell_handle(seen) != WEIR_RING_POISON) {", "if (cell_handle(seen) != WEIR_RING_POISON && head % 64 != 5) {",
     "broker/keeper.c", "            intake_sweep(w, c);\n", "            (void)c;\n"),
    ("a slot is claimed without a CAS", "broker/intake.c", "if (!weir_cas_u64(&c->slot[slot].state, &word,\n                      weir_slot_with(word, WEIR_SLOT_CLAIMED))) {",
     "if ((weir_store_release_u64(&c->slot[slot].state, weir_slot_with(word, WEIR_SLOT_CLAIMED)), false)) {"),
    ("a restarted worker does not sweep", "broker/clients.c", "    intake_sweep(w, c); /* it may have submitted", "    if (!recovered)\n        intake_sweep(w, c); /* it may have submitted",
     "broker/keeper.c", "            intake_sweep(w, c);\n", "            (void)c;\n"),
    # the send gate, and what follows a death
    ("the gate lets an order pass twice", "broker/exchange.c", "if (c->sends > 0 && !c->idempotent && !c->may_renew && !doubt_may_resend(c)) {", "if (c->sends > 7 && !c->idempotent) {"),
    ("the gate uses one permit twice", "broker/exchange.c", "return c->permit.state == WEIR_PERMIT_GRANTED && now_ns", "return now_ns"),
    ("the gate does not look at pauses", "broker/exchange.c", "now_ns <= c->permit.use_by_ns &&\n           !weir_hold_before(&w->shared, w->route[c->route].provider, &c->permit);", "now_ns <= c->permit.use_by_ns;"),
    ("the gate does not consume", "broker/exchange.c", "    c->permit.state = WEIR_PERMIT_SENT; /* consumed", "    if (c->sends > 99)\n        c->permit.state = WEIR_PERMIT_SENT; /* consumed"),
    ("the ledger does not know what is on the wire", "broker/exchange.c", "weir_store_release_u32(&sh->state, WEIR_SLOT_SENDING); /* pair:shadow R */", "",
     "broker/exchange.c", "        sh->sends = c->sends;\n", ""),
    ("every interrupted call is repeated", "broker/intake.c", "bool again = !sent || sh->idempotent != 0;", "bool again = true;"),
    ("outcomes are not made truthful", "broker/outcome.c", "    result = truthful(c, result);\n", "    (void)truthful;\n"),
    ("an order that got no answer is said to have failed", "broker/exchange.c", "call_end(w, c, c->idempotent ? late : WEIR_RESULT_OUTCOME_UNKNOWN, (int)code);", "call_end(w, c, late, (int)code);"),
    # hedges and cancels
    ("a hedge has no permit of its own", "broker/hedge.c", "    return e != NULL && dispatch_permit(w, hedge) == WEIR_OK && start_at(w, hedge, e);",
     "    hedge->permit = first->permit;\n    hedge->own_permit = first->own_permit;\n    hedge->permit.state = hedge->own_permit.state = WEIR_PERMIT_GRANTED;\n    return e != NULL && start_at(w, hedge, e);"),
    ("a hedge that won does not stop the first", "broker/hedge.c", "        exchange_stop(w, first);\n", "        call_attempt_over(w, first, WEIR_RESULT_FAILED);\n"),
    ("the answer of a hedge is not the call's", "broker/hedge.c", "        memcpy(c->room, hedge->room, (size_t)hedge->head_bytes + hedge->body_bytes);\n", ""),
    ("orders are hedged", "broker/config/config_check_hedge.c", "provider->hedge.budget_ppm > 0 && fetches && route->is_idempotent &&", "provider->hedge.budget_ppm > 0 && (fetches || true) &&"),
    ("who lost is given back", "broker/exchange.c", "        call_attempt_over(w, c, WEIR_RESULT_FAILED);\n    }\n}", "        c->permit.state = c->own_permit.state = WEIR_PERMIT_GRANTED;\n        call_give_back(w, c);\n    }\n}"),
    ("a hedge's sends are not told", "broker/hedge.c", "        c->hedge_of->sends++;\n", ""),
    ("an order on the wire is cancelled, and said not to be sent", "broker/dispatch.c", "(!wire || !c->idempotent || c->follow_first != NULL)", "(!wire || c->follow_first != NULL)",
     "broker/outcome.c", "    if (!c->idempotent) {\n        return c->doubt", "    if (!c->idempotent && result != WEIR_RESULT_CANCELLED) {\n        return c->doubt"),
    # doubt and retry
    ("absence is believed at once", "broker/doubt.c", "    if (says == DOUBT_ABSENT && q->sent_ns < settled_ns) {", "    if (says == DOUBT_ABSENT && q->sent_ns < 1) {"),
    ("an order that broke off is made again", "broker/retry.c", "    case RETRY_BROKEN:\n        return c->idempotent;", "    case RETRY_BROKEN:\n        return true;",
     "broker/exchange.c", "if (c->sends > 0 && !c->idempotent && !c->may_renew && !doubt_may_resend(c)) {", "if (c->sends > 7 && !c->idempotent) {"),
    # settle
    ("a call without an answer is given back", "broker/outcome.c", "        (void)weir_permit_end(&w->own, &c->own_permit, NULL);\n        (void)weir_permit_end(&w->shared, &c->permit, NULL);",
     "        (void)weir_permit_give(&w->own, &c->own_permit);\n        (void)weir_permit_give(&w->shared, &c->permit);"),
    ("what was sent and stopped is given back", "broker/outcome.c", "    if (c->permit.state == WEIR_PERMIT_GRANTED) {\n        reply_charged", "    if (c->permit.state != WEIR_PERMIT_NONE) {\n        c->permit.state = c->own_permit.state = WEIR_PERMIT_GRANTED;\n        reply_charged"),
    ("what got no answer is given back in windows and buckets", "broker/outcome.c", "    if (c->permit.state == WEIR_PERMIT_GRANTED || c->permit.state == WEIR_PERMIT_SENT) {\n        dispatch_as(w, c);\n", "    if (c->permit.state == WEIR_PERMIT_GRANTED || c->permit.state == WEIR_PERMIT_SENT) {\n        c->permit.state = c->own_permit.state = WEIR_PERMIT_GRANTED;\n        (void)weir_permit_give(&w->own, &c->own_permit);\n        (void)weir_permit_give(&w->shared, &c->permit);\n        return;\n        dispatch_as(w, c);\n"),
    ("brokered calls leave the shared account alone", "broker/dispatch.c", "    rc = weir_permit_take(&w->shared, c->route, c->scope, units, c->priority, &c->permit);\n", "    c->permit = c->own_permit;\n"),
    ("straddles are given back at random", "shm/weir_straddle.c", "other.window = counted == c->window ?", "other.window = counted != c->window ?"),
    # two accounts
    ("nobody repairs a half-made charge", "broker/pair.c", "uint32_t cnt = restore(w);\n    if (cnt > 0) {", "uint32_t cnt = w->region->own->undo_cnt;\n    pair_close(w);\n    if (cnt > 0) {"),
    ("what is given back is kept as if it grew", "broker/pair.c", "        if (counted == NULL || counted->units[i] > permit->charge[i].units) {", "        if (counted == NULL || counted->units[i] < UINT32_MAX) {"),
    ("a refused call ratchets the private account", "broker/dispatch.c", "        pair_back(w);\n", "        pair_close(w);\n"),
    ("the private account is given back last", "broker/dispatch.c", "    int rc = weir_permit_take(&w->own,", "    for (int i = 0; i < 2; i++)\n        (void)weir_permit_take(&w->own, c->route, c->scope, units, c->priority, &c->own_permit);\n    int rc = weir_permit_take(&w->own,"),
    # answers' room
    ("room is reused before its answer was read", "broker/clients.c", "sh->state == WEIR_SLOT_DONE && is_released(sh, word)) {", "sh->state == WEIR_SLOT_DONE && (is_released(sh, word) || word != 0)) {"),
    ("room is never given back", "broker/clients.c", "            client_room_release(c, s);\n            any = true;", "            any = false;"),
    ("a restarted worker forgets which room is taken", "broker/clients.c", "if (sh->pool_bytes > 0 && !pool_claim(&c->pool, sh->pool_off_bytes, sh->pool_bytes)) {", "if (sh->pool_bytes > 0 && sh->pool_off_bytes == 1) {"),
    ("an answer keeps half of its room", "broker/pool.c", "uint32_t keep = granules_of(keep_bytes);", "uint32_t keep = granules_of(keep_bytes / 2);"),
    # reaping
    ("units of the dead are kept", "broker/units.c", "    return !c->live || (!c->gone && weir_owner_life(cell) == c->unit_life);", "    return c != NULL;"),
    ("units of a dead worker are kept", "broker/units.c", "return owner == weir_owner_of(w->shared.owner);", "return owner != 0;"),
    ("units do not rest", "shm/weir_concurrency.h", "now_ns >= cell && now_ns - cell >= rest_ns)", "rest_ns + now_ns > 0)"),
    ("the dead are not reaped while something is in flight, nor after", "broker/outcome.c", "    if (cl->gone) {\n        client_reap_if_idle(w, cl);\n", "    if (cl->gone) {\n"),
    ("who closes without a supervisor is not seen", "broker/keeper.c", "            clients_closed(w);\n", "            (void)w;\n"),
    # time
    ("nobody ends a call whose time is over", "broker/exchange.c", "(c->sent_ns == 0 ? !connects_on(w, c) : w->now_ns >= c->deadline_ns)) {", "(c->sent_ns == 0 && !connects_on(w, c))) {"),
    ("queued calls do not expire", "broker/dispatch.c", "} else if (w->now_ns >= c->deadline_ns && c != denied) {", "} else if (w->now_ns >= c->deadline_ns + UINT64_C(60000000000) && c != denied) {"),
    ("the exchange's clock is taken for ours", "broker/server_clock.c", "const struct server_clock_bound low = {(int64_t)(stamp_utc_ns - received_ns), received_ns};", "const struct server_clock_bound low = {(int64_t)(stamp_utc_ns + granularity_ns - sent_ns), received_ns};"),
    ("re-alignment carries nothing", "shm/weir_limit_repair.c", "return overwritten && recent ? weir_limit_peak(row) : units;", "return 0;"),
    # pauses
    ("a 429 pauses nobody", "broker/pause.c", "    if (step == BACKOFF_LATE || !board_pause(w, line, s->until_ns, s->cause)) {", "    if (step != BACKOFF_LATE || !board_pause(w, line, s->until_ns, s->cause)) {"),
    ("what Retry-After says is not heard", "broker/pause.c", "uint64_t told_ns = heard->for_ns > 0 ? now_ns + heard->for_ns : 0;", "uint64_t told_ns = 0 * now_ns;"),
    # journal and restart
    ("a ceiling is used before it is on disk", "broker/ceiling.c", "    c->writing = true;\n", "    c->writing = true;\n    for (uint32_t i = 0; i < c->cnt; i++)\n        early(w, &c->raise[i]);\n",
     "broker/ceiling.c", "void ceiling_turn(struct worker *w)\n{", "static void publish(struct worker *w, const struct memory_raise *raise);\nstatic void early(struct worker *w, const struct memory_raise *raise)\n{\n    publish(w, raise);\n}\n\nvoid ceiling_turn(struct worker *w)\n{"),
    ("the journal remembers nothing", "broker/aftermath.c", "        memory_restore(region, t, &f->view, j->boot_id, false, &when);\n", "        (void)when;\n"),
    ("short windows are fresh after a crash", "broker/aftermath.c", "if (row != NULL && row->ceiling_step == 0) {", "if (row != NULL && row->ceiling_step == 1) {"),
    ("a new broker does not wait out the lease", "broker/aftermath.c", "while (nanosleep(&lease, &lease) != 0 && errno == EINTR) {", "while (lease.tv_sec == 1) {"),
    ("a lease that never ends", "broker/keeper.c", "    weir_store_release_u64(&w->region->gate->lease_until_ns,\n                           until_ns);", "    weir_store_release_u64(&w->region->gate->lease_until_ns,\n                           until_ns + 900000000000);"),
    # takeover
    ("the giver goes on beside its successor", "broker/handover.c", "    if (taken == 1) {", "    if (taken == 9) {",
     "broker/handover.c", "    if (taken < 0 || granted) {", "    if (taken > 9 && granted) {"),
    ("a new worker does not look who closed while nobody listened", "broker/worker.c", "    clients_closed(w);\n    log_info", "    log_info"),
    ("a successor takes no client over", "broker/takeover.c", "        admission_restore(admission, &info, cnt > CONTROL_FDS ? got[5] : -1);", "        (void)info;"),
    # settle
    ("of what the answer says half is charged", "broker/settle.c", "                units->units[slot] = n;", "                units->units[slot] = n / 2;"),
    ("success is told by the status alone", "broker/settle.c", "    if (*config->ok.field == '\\0') {", "    if (*config->ok.field != '?') {"),
    ("surcharges are not charged", "shm/weir_settle.c", "        if (clock || !windows) {", "        if (clock && !clock) {"),
    ("a refund gives the whole call back", "shm/weir_settle.c", "    part.units = charge->units - units;", "    part.units = charge->units;"),
    ("the private account is not settled by the answer", "broker/outcome.c", "        (void)weir_permit_answered(&w->shared, &c->permit, success, counted);", "        (void)weir_permit_end(&w->shared, &c->permit, NULL);\n        (void)weir_permit_answered(&w->shared, &c->permit, success, counted);"),
    # others
    ("others are never proven in fixed windows", "broker/feedback.c", "    if (r->used > ours) {", "    if (r->used > ours && r->used < 1) {"),
    ("a sliding window's count is over at once", "broker/rolling.c", "        p.until_ns = q->seen_ns + r->rule.window_ns;", "        p.until_ns = q->seen_ns + r->rule.window_ns / 8;"),
    ("answers are over before they were sent", "broker/rolling.c", "        if (a->done_ns > p->sent_ns) {\n            continue;", "        if (a->done_ns > p->sent_ns + UINT64_C(1000000000)) {\n            continue;"),
    # late arrivals
    ("open calls are not charged to later windows", "broker/reply.c", "        if (w->now_ns + OVERDUE_AHEAD_NS >= covered_ns) {", "        if (w->now_ns + OVERDUE_AHEAD_NS >= covered_ns + UINT64_C(60000000000)) {"),
    ("open calls are not renewed in sliding windows", "shm/weir_overdue.c", "        if (c->kind == WEIR_LIMIT_SLIDING_WINDOW && sliding_renew(view, permit, c, now_ns)) {", "        if (c->kind == WEIR_LIMIT_SLIDING_WINDOW && now_ns == 1 && sliding_renew(view, permit, c, now_ns)) {"),
    # reload
    ("windows of another length are not spent", "broker/reload.c", "    return old->shape != row->shape || (row->quota", "    return (row->quota"),
    ("what finds no cell is forgotten", "broker/reload.c", "    cells_owe(at, stamp, all - is, now_ns);", "    (void)cells_owe;"),
    ("a restart cuts what it remembers to its quota", "broker/memory.c", "    if (units > weir_limit_peak(row)) { /* the", "    if (units > UINT32_MAX) { /* the"),
    # a start with another configuration
    ("a start spends windows by this machine's clock", "broker/aftermath.c", "        struct weir_server_clock clock = memory_clock(region, l->provider);\n        const struct weir_limit_place at",
     "        struct weir_server_clock clock = {.state = WEIR_CLOCK_UNKNOWN, .offset_ns = (int64_t)(weir_clock_realtime_ns() - weir_clock_monotonic_ns())};\n        const struct weir_limit_place at"),
    # answers on disk
    ("an answer from disk is as young as it was", "broker/snapshot.c", "    return *passed_ns > reader->longest_ns ? SNAPSHOT_STALE : SNAPSHOT_SOUND;", "    bool stale = *passed_ns > reader->longest_ns;\n    *passed_ns = 0;\n    return stale ? SNAPSHOT_STALE : SNAPSHOT_SOUND;"),
    ("an answer from disk is given however old it is", "broker/last_good.c", "            r->age_ns >= g->kept_ns[route] || passed_ns >= g->kept_ns[route] - r->age_ns) {", "            false) {",
     "broker/last_good.c", "now_ns + (g->kept_ns[route] - age_ns),", "now_ns + g->kept_ns[route] * 4,"),
    ("an answer from disk stays when its time is over", "broker/last_good.c", "now_ns + (g->kept_ns[route] - age_ns),", "now_ns + g->kept_ns[route],"),
    # faults of kernel and libc
    ("a signal ends the write of the state", "broker/aftermath.c", "        if (n <= 0 && !(n < 0 && errno == EINTR)) {", "        if (n <= 0) {"),
    # pools of addresses and keys
    ("a call leaves from another address than the one that pays", "broker/egress.c", "    c->from = has ? &p->source[value] : NULL;", "    c->from = has ? &p->source[value > 1 ? value - 1 : value] : NULL;"),
    ("a retry keeps what the member before had paid", "broker/dispatch.c", "        rc = waits ? WEIR_DENIED : e != NULL ? dispatch_permit(w, c) : WEIR_OK;",
     "        bool old = c->attempts > 0 && c->permit.charge_cnt > 0 && e != NULL;\n        if (old)\n            c->permit.state = c->own_permit.state = WEIR_PERMIT_GRANTED, c->permit.use_by_ns = UINT64_MAX;\n"
     "        rc = waits ? WEIR_DENIED : old || e == NULL ? WEIR_OK : dispatch_permit(w, c);"),
    ("a hedge goes by the first attempt's member", "broker/hedge.c", "    if (start_other(w, hedge) || start_same(w, hedge)) {", "    if (start_same(w, hedge) || start_other(w, hedge)) {"),
    ("a hedge beside is paid by the first attempt's member", "broker/egress.c", "    return other && choose(w, c, t);", "    uint64_t scope = c->scope;\n    bool ok = other && choose(w, c, t);\n    c->scope = scope;\n    return ok;"),
    ("an answer names the first attempt's member", "broker/hedge.c", "    c->member = hedge->member;\n    c->from = hedge->from;\n    c->throttled", "    c->from = hedge->from;\n    c->throttled"),
    ("a stop of one member is looked for at the provider", "shm/weir_hold.h", "    return weir_hold_line(row, route->provider, (uint32_t)(scope >> shift) & 0xffffU);", "    return weir_hold_line(row, route->provider, (uint32_t)(scope >> shift) & 0U);"),
    ("an order is asked after with whichever key", "broker/doubt.c", "    return (c->scope & ~address) | (c->request.scope & address);", "    return c->request.scope & (address | ~address);"),
    ("whom a call names is one of many", "shm/weir_member.c", "named == 0 || named == value_at(m->scope, k));", "named == 0 || true);"),
    ("what a member has left is not looked at when it pays", "broker/dispatch.c", "    pair_open_route(w, c->route, c->scope);\n    /* The", "    pair_open_route(w, c->route, c->scope);\n    const uint64_t sent_by = c->scope;\n    if ((c->scope & 0xffffU) > 1)\n        c->scope--;\n    /* The",
     "broker/dispatch.c", "    audit_granted(w, c, true);\n", "    audit_granted(w, c, true);\n    c->scope = sent_by;\n"),
    # sessions
    ("calls are held while a sign-in is awaited", "broker/quiesce.c", "    if (w->quiesce_asked && !w->quiescing && !sign_in_is_busy(w)) {", "    if (w->quiesce_asked && !w->quiescing) {",
     "broker/quiesce.c", "ceiling_is_writing(w) || last_good_is_writing(w)) {", "ceiling_is_writing(w) || last_good_is_writing(w) || sign_in_is_busy(w)) {"),
    ("a refresh token leaves before SPENDING is on the disk", "broker/sign_in_token.c", "    r->uses++;\n    record_write(w, s, STEP_INTENT);\n", "    r->uses++;\n    record_write(w, s, STEP_INTENT);\n    s->events = 9;\n    s->slot ^= 1U;\n    s->sequence = r->sequence;\n    intent_written(w, s);\n"),
    ("an access token is used before the refresh token is stored", "broker/sign_in_token.c", "    record_write(w, s, STEP_KEEP);\n}\n\nstatic void token_asked", "    record_write(w, s, STEP_KEEP);\n    kept(w, s);\n}\n\nstatic void token_asked"),
    ("a token that no disk took is used", "broker/sign_in_token.c", "        if (error == 0) {\n            kept(w, s);", "        if (error <= 99) {\n            kept(w, s);"),
    ("a refresh token that may be spent is sent by the next worker", "broker/sign_in_rule.c", "    return used <= second_use_max ? SIGN_IN_BEGIN_AGAIN : SIGN_IN_BEGIN_LOST;", "    return used <= second_use_max + 9 ? SIGN_IN_BEGIN_AGAIN : SIGN_IN_BEGIN_LOST;"),
    ("the next worker is not told that the token was sent", "broker/sign_in_call.c", "        s->place->sent =\n            s->sequence;", "        s->place->sent +=\n            0 * s->sequence;"),
    ("a refresh token without an answer is held", "broker/sign_in_rule.c", "    if (!sent || (answered &&", "    if (!sent || !answered || (answered &&"),
    ("the older record counts", "broker/sign_in_rule.c", "r->sequence > (*record)->sequence)) {", "r->sequence < (*record)->sequence)) {"),
    ("a token that was not taken stays in force", "broker/sign_in_call.c", "    s->good_until_ns = w->now_ns; /*", "    s->due_ns = w->now_ns; /*"),
    ("each answer that says so renews", "broker/sign_in_call.c", "    if (w->now_ns < s->renew_not_before_ns || s->state != WEIR_SIGN_IN_READY) {", "    if (s->state != WEIR_SIGN_IN_READY) {"),
    ("nobody looks when a token ends", "broker/sign_in_call.c", "s->state != WEIR_SIGN_IN_ASTRAY && w->now_ns < s->good_until_ns;", "s->state != WEIR_SIGN_IN_ASTRAY;", "broker/sign_in_call.c", "    return s->generation != 0 && worker_now(w) < s->good_until_ns;", "    return s->generation != 0 && worker_now(w) > 0;"),
    ("a renewal lets an order pass the gate for good", "broker/exchange.c", "    c->may_renew = false;\n", ""),
    ("a renewal makes an order again that was done", "broker/sign_in_call.c", "        if (s->config->expired.number[i] == status) {", "        if (s->config->expired.number[i] == status || status == 200) {"),
    ("a cookie is in force before its crumb", "broker/sign_in_cookie.c", "               sign_in_cookies(s->secret.jar_next, s->secret.room,", "               sign_in_cookies(s->secret.jar, s->secret.room, head_bytes, e->config->url.host) && sign_in_cookies(s->secret.jar_next, s->secret.room,"),
    # kept answers, and one call for many
    ("an element is given to whoever waits first", "broker/batch_give.c", "? split_find(&b->split, b->name[i].text, b->name[i].bytes)\n", "? &b->split.element[0]\n"),
    ("an element is kept under another's key", "broker/batch_give.c", "(void)keep_one(w, k, e, &b->key[i]);", "(void)keep_one(w, k, e, &b->key[0]);"),
    ("what nobody asked for is kept under another's key", "broker/batch_give.c", "if (!batch_call_make(config, &b->with, e->name,", "if (!batch_call_make(config, &b->with, b->split.element[0].name,"),
    ("the age of an element counts from its coming", "broker/batch_give.c", "uint64_t filled_ns = c->sent_ns > b->say.age_ns ? c->sent_ns - b->say.age_ns : 0;", "uint64_t filled_ns = w->now_ns;"),
    ("the age of an answer counts from its coming", "broker/coalesce.c", "uint64_t filled_ns = c->sent_ns > say.age_ns ? c->sent_ns - say.age_ns : 0;", "uint64_t filled_ns = w->now_ns;"),
    ("an element is kept beyond its time", "broker/batch_give.c", "uint64_t fresh_ns = weir_min_u64(route->cache_ns, b->say.max_age_ns);", "uint64_t fresh_ns = 4 * (route->cache_ns + route->stale_ns);"),
    ("an answer is kept beyond its time", "broker/coalesce.c", "    fresh_ns = weir_min_u64(fresh_ns, say.max_age_ns);", "    fresh_ns = 4 * (fresh_ns + route->stale_ns);"),
    ("who joins a batch that was sent gets it however old it is", "broker/batch_give.c", "(c->taken_ns > lead->sent_ns && age_ns > route->cache_ns + route->stale_ns)", "age_ns > UINT64_MAX / 2",
     "broker/batch.c", "        w->now_ns > lead->sent_ns + w->route[b->route].config->cache_ns / 2) {", "        w->now_ns == 0) {"),
    ("who joins a call that was sent gets its answer however old it is", "broker/coalesce.c", "    if (c->taken_ns > lead->sent_ns && age_ns", "    if (c->taken_ns == 0 && age_ns"),
    ("who waits for a batch that fails is forgotten", "broker/coalesce.c", "            } else {\n                make_alone(w, c);\n            }\n            continue;", "            }\n            continue;"),
    ("who waits for an equal call that fails is forgotten", "broker/coalesce.c", "            dispatch_ready(w, c);\n        }\n    }\n    if (lead->batch != NULL) {", "        }\n    }\n    if (lead->batch != NULL) {"),
    ("who waits for a batch does not expire", "broker/coalesce.c", "        if (c->stage != CALL_FOLLOW) {", "        if (c->stage != CALL_FOLLOW || c->lead->batch != NULL) {"),
    ("who is cancelled stays with its batch", "broker/coalesce.c", "    if (c->lead != NULL) {\n        unfollow(c);\n    }", "    if (c->lead != NULL && c->lead->batch == NULL) {\n        unfollow(c);\n    }"),
    ("a batch pays what one call pays", "broker/dispatch.c", "weir_permit_take(&w->own, c->route, c->scope, units, c->priority, &c->own_permit);", "weir_permit_take(&w->own, c->batch != NULL ? c->route - 1 : c->route, c->scope, units, c->priority, &c->own_permit);",
     "broker/dispatch.c", "    rc = weir_permit_take(&w->shared, c->route, c->scope,", "    rc = weir_permit_take(&w->shared, c->batch != NULL ? c->route - 1 : c->route, c->scope,"),
]

WRAPPED = re.compile(r"'([a-z0-9_]+)'")


def build_list(root):
    """What meson.build compiles and wraps, read from there: one truth."""
    text = (root / "tests/dst/meson.build").read_text()
    wrapped = WRAPPED.findall(text[text.index("dst_wrapped"):text.index("]")])
    start = text.index("dst_replaced")
    replaced = set(re.findall(r"'([a-z_]+\.c)'", text[start:text.index("]", start)])) | {"weird.c", "config_man_main.c"}
    return wrapped, replaced


class Builder:
    def __init__(self, root, cc, base):
        self.root, self.cc, self.base = root, cc, base
        self.wrapped, self.replaced = build_list(root)
        self.sources = [p.relative_to(root) for d in ("shm", "broker", "libclient", "broker/config", "broker/sign") for p in sorted((root / d).glob("*.c"))
                        if p.name not in self.replaced]
        self.own = [p.relative_to(root) for p in sorted((root / "tests/dst").glob("*.c"))]

    def compile(self, tree, source, out):
        points = [] if str(source).startswith(("broker/config", "broker/sign")) or source in self.own else ["-include", f"{tree}/tests/dst/dst_points.h"]
        flags = ["-std=gnu11", "-O1", "-g", "-w", "-D_GNU_SOURCE", "-DWEIR_VERSION=\"0\"", "-DWEIR_WEAVE_HOOKS", "-fno-strict-aliasing",
                 f"-I{tree}", f"-I{tree}/shm", f"-I{tree}/libclient", f"-I{tree}/tests/dst", *points]
        mutate.compile_source(self.cc, flags, f"{tree}/{source}", out)

    def object(self, source):
        return self.base / (str(source).replace("/", "_") + ".o")

    def link(self, objects, out):
        """As meson does: what is under test in an archive, from which comes what somebody asks for."""
        own = {self.object(s).name for s in self.own}
        archive = out.parent / "under_test.a"
        archive.unlink(missing_ok=True)
        subprocess.run(["ar", "rc", archive, *(str(o) for o in objects if o.name not in own)], check=True)
        subprocess.run([self.cc, "-o", out, *(str(o) for o in objects if o.name in own), archive, *(f"-Wl,--wrap={w}" for w in self.wrapped), "-lcurl", "-luring", "-lxxhash", "-ljansson",
                        "-lyaml", "-lssl", "-lcrypto", "-lseccomp", "-lcap", "-lm"], check=True)

    def reads(self, source):
        """The files that an object is made of; ccache may have made their names relative."""
        return {os.path.realpath(file) for file in mutate.made_of(self.object(source))}

    def current(self, source):
        o = self.object(source)
        return o.exists() and all(os.path.getmtime(f) < o.stat().st_mtime for f in self.reads(source))

    def all(self, pool):
        list(pool.map(lambda s: self.current(s) or self.compile(self.root, s, self.object(s)), self.sources + self.own))
        self.link([self.object(s) for s in self.sources + self.own], self.base / "weir-dst")
        return self.base / "weir-dst"

    def touched(self, source, files):
        return any(str(self.root / f) in self.reads(source) for f in files)

    def mutant(self, edits, tmp):
        tree = tmp / "tree"
        for d in ("shm", "broker", "libclient", "tests/dst"):
            shutil.copytree(self.root / d, tree / d)
        files = mutate.edit(tree, edits)
        objects = []
        for s in self.sources + self.own:
            o = self.object(s)
            if self.touched(s, files):
                o = tmp / o.name
                self.compile(tree, s, o)
            objects.append(o)
        if not any(o.parent == tmp for o in objects):
            raise LookupError(f"no object reads {files}")
        self.link(objects, tmp / "weir-dst")
        return tmp / "weir-dst"


def broken_by(program, seed, hours):
    """What a seed said of a program; None: all promises held. Anything else than a broken promise, a signal or a run without an end is no verdict."""
    try:
        run = subprocess.run([program, "--seed", str(seed), "--hours", str(hours)], capture_output=True, text=True, check=False, timeout=120)
    except subprocess.TimeoutExpired:
        return "it hangs"
    broken = next((line for line in run.stderr.splitlines() if line.startswith("BROKEN")), None)
    if run.returncode == 0:
        return None
    if run.returncode < 0:
        return f"signal {-run.returncode}"
    if broken is None:
        raise RuntimeError(f"{program} ends with {run.returncode}: {run.stderr}")
    return broken.removeprefix("BROKEN: ")


def judge(builder, name, edits, first, seeds, hours):
    with tempfile.TemporaryDirectory(prefix="weir-dst.") as at:
        try:
            program = builder.mutant(edits, pathlib.Path(at))
        except LookupError as e:
            return name, None, str(e)
        for n in range(seeds):
            broken = broken_by(program, first + n, hours)
            if broken is not None:
                return name, n + 1, broken
        return name, 0, ""


def main():
    a = argparse.ArgumentParser()
    a.add_argument("root", type=pathlib.Path)
    a.add_argument("--cc", default="cc")
    a.add_argument("--seeds", type=int, default=200)
    a.add_argument("--first", type=int, default=1)
    a.add_argument("--hours", default="0.0166667")
    a.add_argument("--only", default="", help="a pattern")
    a.add_argument("--share", default="0/1", help="K/N: every Nth, from the Kth on")
    a.add_argument("--keep", type=pathlib.Path, help="a folder for the objects of the unchanged program, so that the next part need not make them")
    a.add_argument("--jobs", type=int, default=os.cpu_count())
    a = a.parse_args()
    k, n = map(int, a.share.split("/"))
    mutants = [m for m in MUTANTS if re.search(a.only, m[0])][k::n]
    with tempfile.TemporaryDirectory(prefix="weir-dst.") as base, concurrent.futures.ThreadPoolExecutor(a.jobs) as pool:
        if a.keep:
            a.keep.mkdir(exist_ok=True)
        builder = Builder(a.root.resolve(), a.cc, (a.keep or pathlib.Path(base)).resolve())
        sound = broken_by(builder.all(pool), a.first, a.hours)
        if sound is not None:
            sys.exit(f"mutants.py: without any change seed {a.first} says: {sound}")
        jobs = [pool.submit(judge, builder, m[0], m[1:], a.first, a.seeds, a.hours) for m in mutants]
        done = (job.result() for job in concurrent.futures.as_completed(jobs))
        return mutate.tell((f"caught by seed {tried:4}" if tried else "", name, what) for name, tried, what in done)


if __name__ == "__main__":
    sys.exit(main())
