# Completion for bash: sub-commands and their options, option keys behind --set, and
# for `forkmark ctl` the pools and processes of the server that answers, if one does.
#
#   source config/completion/forkmark.bash       for this shell
#   sh config/install.sh completion              for everybody (or as a user: for oneself)
#
# What the program knows is asked of the program, so that nothing here can be out of
# date; only what stands behind a ctl command is written down.

# Words below "Commands:" of a help text.
_forkmark_commands() {
    "$@" 2>/dev/null | sed -n '/^Commands:/,/^$/s/^  \([a-z][a-z-]*\).*/\1/p' | sort -u
}

_forkmark_options() {
    "$@" --help 2>/dev/null | sed -n 's/^  ..[, ] \(--[a-z][a-z-]*\).*/\1/p' | sort -u
}

# One of `forkmark jobs`: its options stand in the usage, above the first empty line.
_forkmark_job_options() {
    "$1" jobs "$2" --help 2>/dev/null | sed '/^$/q' | grep -oe '--[a-z][a-z-]*' | sort -u
}

_forkmark_keys() {
    "$1" check --markdown 2>/dev/null | sed -n 's/^| `\([a-z_]*\.[a-z_.]*\)` .*/\1=/p'
}

# A running server's answer, from where the words typed so far say that it is.
_forkmark_ask() {
    timeout 2 "${_forkmark_server[@]}" "$@" 2>/dev/null
}

_forkmark_pids() {
    _forkmark_ask status | sed -n 's/.* pid \([0-9][0-9]*\) *\(starting\|ready\|draining\) .*/\1/p'
}

# $1: the words behind `ctl` so far, without options.
_forkmark_ctl() {
    case $1 in
    '') _forkmark_commands "$program" ctl --help ;;
    status) echo --watch ;;
    reload) echo --wait ;;
    restart) echo --rolling ;;
    'restart --rolling') echo --wait ;;
    stop) echo --quick ;;
    upgrade) echo --wait --complete ;;
    scale) _forkmark_ask show pools ;;
    'scale '*' '*' --for') echo 10m 30m 1h 8h ;;
    'scale '*' '*' '*) ;;
    'scale '*' '*) echo --for ;;
    'scale '*) echo +1 -1 1 2 4 8 config ;;
    drain | kill) _forkmark_pids ;;
    log-level) echo error warn info debug config ;;
    show) echo config events listeners pools ;;
    esac
}

_forkmark() {
    local program=${COMP_WORDS[0]} current=${COMP_WORDS[COMP_CWORD]} previous=''
    local command='' words='' word at
    local -a _forkmark_server=("$program" ctl)

    COMPREPLY=()
    # bash makes words of their own of `=`; "--set=key" is `--set`, `=`, `key`.
    [ "$current" = = ] && current=
    for ((at = 1; at < COMP_CWORD; at++)); do
        word=${COMP_WORDS[at]}
        [ "$word" = = ] && continue
        case $previous in
        -c | --config | --socket | --set)
            # A value; `key=value` is three words.
            if [ "${COMP_WORDS[at + 1]}" = = ] && [ "$previous" = --set ]; then
                [ $((at + 2)) -lt "$COMP_CWORD" ] || { previous=value; break; }
                word="$word=${COMP_WORDS[at + 2]}"
                at=$((at + 2))
            fi
            _forkmark_server+=("$previous" "$word")
            previous=
            continue
            ;;
        esac
        previous=$word
        case $word in
        -c | --config | --socket | --set) ;;
        --json | --help | -h) ;;
        -*) [ "$command" = ctl ] && words="$words $word" ;;
        *)
            if [ -z "$command" ]; then
                command=$word
            else
                words="$words $word"
            fi
            ;;
        esac
    done
    words=${words# }

    case $previous in
    value) return ;;
    -c | --config | --socket)
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        compopt -o filenames 2>/dev/null
        return
        ;;
    --set)
        mapfile -t COMPREPLY < <(compgen -W "$(_forkmark_keys "$program")" -- "$current")
        compopt -o nospace 2>/dev/null
        return
        ;;
    esac

    local offers=
    case $command in
    '') offers=$(_forkmark_commands "$program" --help) ;;
    ctl) offers=$(_forkmark_ctl "$words") ;;
    jobs) [ -n "$words" ] || offers="$(_forkmark_commands "$program" jobs help) help" ;;
    esac
    case $current in
    -*)
        if [ "$command" = jobs ] && [ -n "$words" ]; then
            offers=$(_forkmark_job_options "$program" "${words%% *}")
        else
            offers="$offers $(_forkmark_options "$program" ${command:+"$command"})"
        fi
        ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$offers" -- "$current")
}

complete -F _forkmark forkmark
