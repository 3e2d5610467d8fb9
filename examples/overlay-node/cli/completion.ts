/**
 * What makes a shell complete. The scripts know nothing of the commands: they hand over the words so far, and
 * `packetweave __complete` answers from the tree of commands, one candidate a line, each with a tab and what it means.
 * A first line `:file` or `:dir` says that the shell completes a path, `:command` a program.
 */

/** By the name of the shell; each takes the name of the program. */
export const SCRIPTS: ReadonlyMap<string, (program: string) => string> = new Map([
  ['bash', bash],
  ['zsh', zsh],
  ['fish', fish],
]);

// "=" is a word of its own to bash, so that --network=a comes in three.
function bash(program: string): string {
  return `# bash completion for ${program}: source <(${program} completion bash)
_${program}() {
  local current=\${COMP_WORDS[COMP_CWORD]} lines line
  [[ $current == = ]] && current=
  mapfile -t lines < <("\${COMP_WORDS[0]}" __complete -- "\${COMP_WORDS[@]:1:COMP_CWORD-1}" "$current" 2>/dev/null)
  COMPREPLY=()
  case \${lines[0]-} in
    :file) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
    :dir) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$current"); return ;;
    :command) mapfile -t COMPREPLY < <(compgen -c -- "$current"); return ;;
  esac
  for line in "\${lines[@]}"; do
    [[ -n $line ]] && COMPREPLY+=("\${line%%$'\\t'*}")
  done
}
complete -F _${program} ${program}
`;
}

function zsh(program: string): string {
  return `#compdef ${program}
# zsh completion for ${program}: source <(${program} completion zsh)
_${program}() {
  local -a lines choices
  local line
  lines=("\${(@f)$("\${words[1]}" __complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  case \${lines[1]-} in
    :file) _files; return ;;
    :dir) _files -/; return ;;
    :command) _command_names -e; return ;;
  esac
  for line in $lines; do
    [[ -n $line ]] && choices+=("\${\${line%%$'\\t'*}//:/\\\\:}:\${line#*$'\\t'}")
  done
  _describe '${program}' choices
}
compdef _${program} ${program}
`;
}

function fish(program: string): string {
  return `# fish completion for ${program}: ${program} completion fish | source
function __${program}_complete
  set -l words (commandline -opc) (commandline -ct)
  set -l lines ($words[1] __complete -- $words[2..-1] 2>/dev/null)
  switch "$lines[1]"
    case :file
      __fish_complete_path (commandline -ct)
    case :dir
      __fish_complete_directories (commandline -ct)
    case :command
      __fish_complete_command
    case '*'
      printf '%s\\n' $lines
  end
end
complete -c ${program} -f -a '(__${program}_complete)'
`;
}
