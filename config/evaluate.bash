# Run by "bash -c" to evaluate config files: see bash.go. Descriptor 3 tells,
# descriptor 4 hears; both are moved out of the way of what a config may use.
# The argument is -e or +e.
exec 203>&3 204<&4 3>&- 4<&- </dev/null

__arid_tell() { builtin printf '%s\0' "$@" >&203; }
__arid_hear() { IFS= builtin read -r -d '' __arid_word <&204 || builtin exit 97; }
__arid_list() { builtin printf '%s\0' "$1" >&203; builtin compgen -A "$2" >&203 || builtin true; builtin printf '\0' >&203; }

# Before every command: has the file it stands in been checked? Does it assign?
__arid_step() {
  case $2 in ''|environment) builtin return 0 ;; esac
  case $4 in *__arid_*) builtin return 0 ;; esac
  __arid_before=$__arid_line
  case $__arid_command in "$4") ;; *) __arid_before=$3 ;; esac
  __arid_dir=$PWD __arid_file=$2 __arid_line=$3 __arid_command=$4
  case $__arid_seen in
  *"//$2//"*) ;;
  *)
    __arid_tell check "$PWD" "$2"
    __arid_hear
    __arid_seen="$__arid_seen//$2//"
    ;;
  esac
  case $1 in
  0)
    case $4 in
    .\ *|source\ *) __arid_tell source "$PWD" "$2" "$3" "$4" && __arid_hear ;;
    cd|cd\ *|pushd\ *|exec\ *|ulimit\ *) __arid_tell lost "$PWD" "$2" "$3" "$4" ;;
    [A-Za-z_]*=*|export\ *|declare\ *|typeset\ *|readonly\ *) __arid_tell assign "$PWD" "$2" "$3" "$4" ;;
    esac
    ;;
  esac
}

__arid_leave() {
  builtin trap - DEBUG
  # After an error in an expansion this trap begins with the failed command
  # once more, as if it stood in line 1: the line noted before is right.
  __arid_tell exit "$1" "$__arid_dir" "$__arid_file" "$__arid_before" "$__arid_command"
}

__arid_seen='' __arid_dir='' __arid_file='' __arid_line=0 __arid_before=0 __arid_command='' __arid_word='' __arid_name=''
__arid_umask=$(umask)
__arid_tell presets
while __arid_hear; [ -n "$__arid_word" ]; do
  __arid_name=$__arid_word
  __arid_hear
  printf -v "$__arid_name" %s "$__arid_word"
done
__arid_hear
set "$1" -fu -o pipefail -o functrace
shift
shopt -s nullglob
trap '__arid_leave "$?"' EXIT
trap '__arid_step "$BASH_SUBSHELL" "${BASH_SOURCE[0]-}" "$LINENO" "$BASH_COMMAND"' DEBUG

builtin source "$__arid_word"

__arid_tell dropins "${CONFIG_D-}"
__arid_files=()
while __arid_hear; [ -n "$__arid_word" ]; do
  __arid_files+=("$__arid_word")
done
for __arid_stage in ${__arid_files[@]+"${__arid_files[@]}"}; do
  __arid_tell stage "$__arid_stage"
  builtin source "$__arid_stage"
done

builtin trap - DEBUG EXIT ERR RETURN
builtin set +eu
IFS=$' \t\n'
for __arid_name in $(builtin compgen -A variable); do
  case $__arid_name in __arid_*|BASH*) builtin continue ;; esac
  if [ -n "${!__arid_name+set}" ]; then
    __arid_tell variable "$__arid_name" "${!__arid_name}"
  fi
done
__arid_list exported export
__arid_list arrays arrayvar
__arid_list functions function
# An array whose element 0 is not set has no value to tell above.
for __arid_name in $(builtin compgen -A arrayvar); do
  case $__arid_name in __arid_*|BASH*) builtin continue ;; esac
  __arid_tell variable "$__arid_name" ''
done
__arid_tell umask "$__arid_umask" "$(umask)"
__arid_tell end
