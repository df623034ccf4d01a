/** `weft completion`: a script that asks `weft __complete`, so that it never has to be made anew. */
import type { WeftContext } from './context.ts';

const SCRIPTS = {
  bash: `# bash completion for weft: eval "$(weft completion bash)"
_weft() {
  local IFS=$'\\n' cur="\${COMP_WORDS[COMP_CWORD]}"
  local words=("\${COMP_WORDS[@]:1:COMP_CWORD}")
  COMPREPLY=($(weft __complete "\${words[@]}" 2>/dev/null | cut -f1))
  [ \${#COMPREPLY[@]} -gt 0 ] || COMPREPLY=($(compgen -f -- "$cur"))
}
complete -o filenames -F _weft weft
`,
  zsh: `#compdef weft
# zsh completion for weft: eval "$(weft completion zsh)"
_weft() {
  local -a proposals
  local line
  for line in "\${(@f)$(weft __complete "\${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
    [[ -n $line ]] && proposals+=("\${\${line%%$'\\t'*}//:/\\\\:}:\${line#*$'\\t'}")
  done
  if (( \${#proposals} )); then _describe weft proposals; else _files; fi
}
# Loaded by fpath it is called at once; by eval it is told whom it completes.
if [[ $funcstack[1] = _weft ]]; then _weft "$@"; else compdef _weft weft; fi
`,
  fish: `# fish completion for weft: weft completion fish | source
function __weft_complete
  set -l words (commandline -opc) (commandline -ct)
  weft __complete $words[2..-1] 2>/dev/null
end
complete -c weft -a '(__weft_complete)'
`,
} as const;

export function printCompletion(
  this: WeftContext,
  _flags: Record<never, never>,
  shell: keyof typeof SCRIPTS,
): void {
  this.terminal.out(SCRIPTS[shell]);
}
