# promise.h for scripts: sourced.
promise_header=${BASH_SOURCE[0]%.sh}.h

# promise_status STATUS FOLDER: STATUS, or that of a broken promise if a sanitizer spoke in a process that wrote into FOLDER. For the end of a script that would exit with STATUS.
promise_status() {
    local said
    if said=$(grep -rsIE '(ERROR|WARNING|SUMMARY): [A-Za-z]+Sanitizer|: runtime error: ' "$2"); then
        printf '%s: a sanitizer spoke\n%s\n' "$(sed -n 's/^#define WEIR_PROMISE_MARK "\(.*\)".*/\1/p' "$promise_header")" "$said"
        return "$(sed -n 's/^#define WEIR_PROMISE_EXIT \([0-9]*\).*/\1/p' "$promise_header")"
    fi
    return "$1"
}
