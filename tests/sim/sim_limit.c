#include "sim_limit.h"

#include <math.h>

/* Lazy filling adds many small doubles: a call that comes exactly in time must
   not be refused for their rounding. Far below one unit, so nothing hides. */
static const double level_rounding = 1e-9;

int64_t sim_window_number(const struct sim_limit_rule *rule, int64_t utc_ns)
{
    int64_t window_ns = rule->window_ms * SIM_NS_PER_MS;
    int64_t number = utc_ns / window_ns;

    return utc_ns % window_ns < 0 ? number - 1 : number; /* floor, before 1970 too */
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Ends the open window, and the empty ones between it and NUMBER. The first
   window is never complete: the run began inside it. */
static void window_turn(const struct sim_limit_rule *rule, struct sim_limit_count *count,
                        int64_t number)
{
    struct sim_window closed = count->window;

    count->history[count->history_cnt++ % SIM_WINDOW_HISTORY_MAX] = closed;
    if (number > closed.number) {
        count->complete_cnt += number - closed.number - 1;
    }
    if (closed.number != count->first_window) {
        count->complete_cnt++;
        count->complete_used += closed.used;
        count->complete_granted += least(closed.used, rule->quota);
    }
    count->window = (struct sim_window){.number = number};
}

static struct sim_limit_answer window_count(const struct sim_limit_rule *rule,
                                            struct sim_limit_count *count, int64_t cost,
                                            struct sim_instant now)
{
    int64_t number = sim_window_number(rule, now.utc_ns);

    if (count->arrival_cnt == 0) {
        count->first_window = number;
        count->window.number = number;
    } else if (number != count->window.number) {
        window_turn(rule, count, number);
    }
    count->window.used += cost;
    if (count->window.used > count->highest) {
        count->highest = count->window.used;
        count->highest_window = number;
    }
    return (struct sim_limit_answer){
        .refused = count->window.used > rule->quota,
        .used = count->window.used,
        .retry_after_ns = (number + 1) * rule->window_ms * SIM_NS_PER_MS - now.utc_ns,
    };
}

static struct sim_limit_answer bucket_count(const struct sim_limit_rule *rule,
                                            struct sim_limit_count *count, int64_t cost,
                                            struct sim_instant now)
{
    struct sim_limit_answer answer = {0};
    double burst = (double)rule->quota;
    double need = (double)cost;

    if (count->arrival_cnt == 0) {
        count->level = burst;
        count->level_min = burst;
    } else {
        double elapsed_s = (double)(now.mono_ns - count->level_at_mono_ns) / (double)SIM_NS_PER_S;
        count->level = fmin(burst, count->level + elapsed_s * rule->refill_per_s);
    }
    count->level_at_mono_ns = now.mono_ns;

    double missing = need - count->level;
    answer.refused = missing > level_rounding;
    if (answer.refused) {
        count->deficit_max = fmax(count->deficit_max, missing);
        answer.retry_after_ns = (int64_t)(missing / rule->refill_per_s * (double)SIM_NS_PER_S);
    } else {
        count->level = fmax(0.0, count->level - need);
        count->level_min = fmin(count->level_min, count->level);
    }
    answer.used = (int64_t)ceil(burst - count->level - level_rounding);
    if (answer.used > count->highest) {
        count->highest = answer.used;
    }
    return answer;
}

struct sim_limit_answer sim_limit_count(const struct sim_limit_rule *rule,
                                        struct sim_limit_count *count, int64_t cost,
                                        struct sim_instant now)
{
    struct sim_limit_answer answer = rule->kind == SIM_TOKEN_BUCKET
                                         ? bucket_count(rule, count, cost, now)
                                         : window_count(rule, count, cost, now);

    count->arrival_cnt++;
    count->counted += cost;
    count->violation_cnt += answer.refused;
    return answer;
}

double sim_limit_share(const struct sim_limit_rule *rule, const struct sim_limit_count *count)
{
    if (count->complete_cnt == 0) {
        return 0.0;
    }
    return (double)count->complete_granted / ((double)rule->quota * (double)count->complete_cnt);
}
