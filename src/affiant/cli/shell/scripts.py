"""The scripts by which bash, zsh and fish complete the words of `affiant`.

Each has all the words in it, so that the Tab key starts no program.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from affiant.cli.shell.offers import FILES, FOLDERS, Offer

_BASH = r"""# bash 4 or newer
_affiant_offer() {
    case $1 in
@OFFERS
        *) return 1 ;;
    esac
}
_affiant() {
    local current=${COMP_WORDS[COMP_CWORD]} at=affiant found='' names='' number IFS=$' \t\n'
    COMPREPLY=()
    for ((number = 1; number < COMP_CWORD; number++)); do
        case "$at ${COMP_WORDS[number]}" in
            @PATHS) at+=" ${COMP_WORDS[number]}" ;;
        esac
    done
    _affiant_offer "$at ${COMP_WORDS[COMP_CWORD - 1]}" ||
        { [[ $current == -* ]] && _affiant_offer "$at -"; } || _affiant_offer "$at"
    if [[ -n $names ]]; then
        compopt -o "$names"
    else
        COMPREPLY=($(compgen -W "$found" -- "$current"))
    fi
}
complete -F _affiant affiant
"""
_ZSH = r"""#compdef affiant
_affiant_offer() {
    case $1 in
@OFFERS
        *) return 1 ;;
    esac
}
_affiant() {
    local at=affiant names='' number
    local -a found=()
    for ((number = 2; number < CURRENT; number++)); do
        case "$at ${words[number]}" in
            @PATHS) at+=" ${words[number]}" ;;
        esac
    done
    _affiant_offer "$at ${words[CURRENT-1]}" ||
        { [[ ${words[CURRENT]} == -* ]] && _affiant_offer "$at -" } || _affiant_offer $at
    case $names in
        default) _files ;;
        dirnames) _files -/ ;;
        *) _describe -V affiant found ;;
    esac
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _affiant "$@"
else
    compdef _affiant affiant
fi
"""
_FISH = r"""function __affiant_offer
    switch $argv[1]
@OFFERS
        case '*'
            return 1
    end
end
function __affiant_complete
    set -l words (commandline --tokenize --cut-at-cursor --current-process)
    set -l at affiant
    for word in $words[2..]
        switch "$at $word"
            case @PATHS
                set at "$at $word"
        end
    end
    __affiant_offer "$at $words[-1]"; and return
    string match --quiet -- '-*' (commandline --current-token); and __affiant_offer "$at -"; and return
    __affiant_offer $at
end
complete --command affiant --no-files --arguments '(__affiant_complete)'
"""


def bash(offers: Mapping[str, Offer], paths: Sequence[str]) -> str:
    return _fill(_BASH, _bash_case, offers, "|".join(map(_quoted, paths)))


def zsh(offers: Mapping[str, Offer], paths: Sequence[str]) -> str:
    return _fill(_ZSH, _zsh_case, offers, "|".join(map(_quoted, paths)))


def fish(offers: Mapping[str, Offer], paths: Sequence[str]) -> str:
    return _fill(_FISH, _fish_case, offers, " ".join(map(_quoted_for_fish, paths)))


SCRIPTS = {"bash": bash, "zsh": zsh, "fish": fish}


def _fill(template: str, case: Callable[[str, Offer], str], offers: Mapping[str, Offer], paths: str) -> str:
    cases = "\n".join(case(place, offer) for place, offer in offers.items())
    return template.replace("@OFFERS", cases).replace("@PATHS", paths)


def _bash_case(place: str, offer: Offer) -> str:
    return _posix_case(place, offer, _quoted(" ".join(word for word, _ in offer.words)))


def _zsh_case(place: str, offer: Offer) -> str:
    words = (f"{word.replace(':', chr(92) + ':')}:{meaning}" if meaning else word for word, meaning in offer.words)
    return _posix_case(place, offer, f"({' '.join(map(_quoted, words))})")


def _posix_case(place: str, offer: Offer, words: str) -> str:
    done = f"names={_READLINE[offer.paths]}" if offer.paths else f"found={words}"
    return f"        {_quoted(place)}) {done} ;;"


_READLINE = {FILES: "default", FOLDERS: "dirnames"}
_FISH_PATHS = {
    FILES: "__fish_complete_path (commandline --current-token)",
    FOLDERS: "__fish_complete_directories (commandline --current-token)",
}


def _fish_case(place: str, offer: Offer) -> str:
    pairs = " ".join(f"{_quoted_for_fish(word)} {_quoted_for_fish(meaning)}" for word, meaning in offer.words)
    done = _FISH_PATHS.get(offer.paths) or (f"printf '%s\\t%s\\n' {pairs}" if pairs else "true")
    return f"        case {_quoted_for_fish(place)}\n            {done}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _quoted_for_fish(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
