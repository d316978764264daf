# bash completion for secretctl(1). Commands and options come from its help, so that they can't
# disagree. Paths of the store are not completed: that would take the key.

# The words of the help's lines that begin with two blanks: commands, or options without arguments.
_secretctl_help()
{
    secretctl "$@" --help 2>/dev/null |
        sed -n 's/^  \([-a-z].*\)/\1/p' |
        sed 's/  .*//; s/,//g; s/ [A-Z]*$//'
}

# Sets `command` to the command on the line, if there is one before the word being completed.
_secretctl_find_command()
{
    local i

    command=
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        --store | --anchor | --audit | --key-file | --passphrase-fd | --identity | --unlock-command) ((i++)) ;;
        -*) ;;
        *)
            command=${COMP_WORDS[i]}
            return
            ;;
        esac
    done
}

_secretctl()
{
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command words

    _secretctl_find_command
    case $prev in
    --store | --audit | --key-file | --identity | --unlock-command | --new-key-file | --new-unlock-command | --out | --file | --output | --mount | --pid-file | --exe)
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        return
        ;;
    --anchor)
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -d -- "$cur")
        return
        ;;
    --owner)
        mapfile -t COMPREPLY < <(compgen -u -- "$cur")
        return
        ;;
    --group)
        mapfile -t COMPREPLY < <(compgen -g -- "$cur")
        return
        ;;
    --label) [[ $command == put ]] && words='current pending' || words='current previous pending' ;;
    --generate) words='password alnum digits hex base64 uuid' ;;
    --rotator)
        mapfile -t COMPREPLY < <(compgen -W "$(ls /etc/secretfs/rotators.d 2>/dev/null)" -- "$cur")
        return
        ;;
    --event) words='open denied revoked expired integrity get mount unmount restart gap init put rotate rollback label revoke expire mkdir move remove restore purge policy describe schedule key rekey anchor' ;;
    --uid)
        mapfile -t COMPREPLY < <(compgen -u -- "$cur")
        return
        ;;
    --signal) words='HUP INT TERM USR1 USR2' ;;
    --passphrase-fd | --new-passphrase-fd | --recipient | --delay | --since | --until | --unit | --mode | --acl | --description | --if-version | --to | --every | --timeout | --recovery | -m | --modify | -x | --remove)
        return
        ;;
    --version) [[ $command == get ]] && return ;;
    esac
    if [[ -z $words ]]; then
        if [[ $cur == -* && -n $command ]]; then
            words=$(_secretctl_help "$command")
        elif [[ $cur == -* ]]; then
            words=$(_secretctl_help | grep '^-')
        elif [[ -z $command || $command == help ]]; then
            words=$(_secretctl_help | grep -v '^-')
        elif [[ $command == backup ]]; then
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$cur")
            return
        elif [[ $command == label ]]; then
            words='current previous pending none'
        elif [[ $command == key ]]; then
            words='ls add rm rekey'
        elif [[ $command == identity ]]; then
            words='new show'
        elif [[ $command == anchor ]]; then
            words=accept
        elif [[ $command == audit ]]; then
            words='verify summary'
        fi
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}

complete -F _secretctl secretctl
