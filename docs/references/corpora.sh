#!/bin/bash
# Texts of fourteen kinds, from Debian 12's packages and npm's, none of which needs to be installed: the corpora of
# docs/references.md. Needs apt-get (with lists: apt-get update), dpkg-deb, npm and python3.
#
#   corpora.sh DIR              fetch and unpack all of them into DIR (600 MB of packages, a gigabyte of text)
#   corpora.sh DIR go erlang    these
#
# Each becomes a folder DIR/NAME of text files; a run reads it by --corpus.sources '[{path: "DIR/NAME/**/*"}]'.
set -euo pipefail
home=$(realpath -m "${1:?a folder is expected}"); shift
kinds=(c rst go rust java cpp elisp perl erlang php help html dictionary javascript)

# take NAME PACKAGE PATH SUFFIX...: the files of these suffixes below PATH of a package.
take() {
  local name=$1 package=$2 path=$3; shift 3
  unpacked=$(mktemp -d); trap 'rm -rf "$unpacked"' EXIT; mkdir -p "$home/$name"
  (cd "$unpacked" && apt-get download -qq "$package" && dpkg-deb -x ./*.deb . && rm ./*.deb)
  case $name in
    c) tar -C "$unpacked" -xf "$unpacked"/usr/src/linux-source-6.1.tar.xz linux-source-6.1/{fs,kernel,mm,net} ;;
    rst) tar -C "$unpacked" -xf "$unpacked"/usr/src/linux-source-6.1.tar.xz linux-source-6.1/Documentation ;;
    java) python3 -m zipfile -e "$unpacked"/usr/lib/jvm/openjdk-17/lib/src.zip "$unpacked" ;;
    elisp|dictionary) find "$unpacked" -name '*.dz' -exec sh -c 'mv "$1" "${1%.dz}.gz"' _ {} \;
                      find "$unpacked" -type f -name '*.gz' -exec gunzip -f {} + ;;
  esac
  local suffix
  for suffix in "$@"; do
    (cd "$unpacked" && find . -type f -path "*$path*" -name "*$suffix" -exec cp --parents -t "$home/$name" {} +)
  done
  rm -rf "$unpacked"
}

fetch() {
  case $1 in
    c) take c linux-source-6.1 linux- .c ;;
    rst) take rst linux-source-6.1 linux- .rst ;;
    go) take go golang-1.19-src usr/share/go-1.19/src .go ;;
    rust) take rust rust-src usr/ .rs ;;
    java) take java openjdk-17-source java. .java ;;
    cpp) take cpp libboost1.74-dev usr/include .hpp ;;
    elisp) take elisp emacs-el usr/share .el ;;
    perl) take perl perl-modules-5.36 usr/ .pm .pod ;;
    erlang) take erlang erlang-src usr/ .erl .hrl ;;
    php) take php mediawiki usr/ .php ;;
    help) take help libreoffice-help-en-us usr/ .html ;;
    html) take html postgresql-doc-15 usr/ .html; take html sqlite3-doc usr/ .html ;;
    dictionary) # it holds bytes that are not UTF-8
      take dictionary dict-gcide usr/ .dict
      python3 -c 'import pathlib, sys; file = pathlib.Path(sys.argv[1])
file.write_bytes(file.read_bytes().decode(errors="ignore").encode())' "$home"/dictionary/usr/share/dictd/gcide.dict ;;
    javascript)
      mkdir -p "$home/javascript"
      for package in three lodash d3 jquery react-dom vue angular moment chart.js underscore backbone ember-source \
        webpack rollup eslint typescript prettier babel-standalone mathjs plotly.js leaflet ol cytoscape pdfjs-dist \
        acorn esprima handlebars mustache immutable rxjs ramda async bluebird express koa socket.io mocha chai sinon \
        jasmine-core codemirror ace-builds quill highlight.js; do
        (cd "$home/javascript" && npm pack --silent "$package" | tail -n 1 | xargs -I{} sh -c \
          'mkdir -p "$1"; tar -C "$1" -xzf "$2" --wildcards --no-anchored "*.js" 2>/dev/null; got=$?; rm -f "$2"; exit $got' \
          _ "$package" {}) || echo "$package is left out" >&2
      done
      find "$home/javascript" -name '*.min.js' -delete ;;
  esac
  echo "$1: $(find "$home/$1" -type f | wc -l) files, $(du -sm "$home/$1" | cut -f 1) MB"
}

[ $# -gt 0 ] || set -- "${kinds[@]}"
for kind in "$@"; do
  [[ " ${kinds[*]} " == *" $kind "* ]] || { echo "$kind is none of: ${kinds[*]}" >&2; exit 2; }
done
for kind in "$@"; do fetch "$kind"; done
