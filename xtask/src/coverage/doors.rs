//! What the doors do with each number: read from the match arms of `xen-core/src/hypercall`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use proc_macro2::Delimiter;

use crate::sources;
use crate::tokens::{self, Token};

/// How a number fares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The door has an arm that acts on it.
    Works,
    /// The door has an arm that answers with these errors and does nothing else.
    Refused(Vec<String>),
    /// The door does not name it: the error of all other numbers.
    Unknown(String),
}

/// The source of one door.
#[derive(Debug)]
pub struct Door {
    /// The file with the handler.
    pub file: PathBuf,
    sources: Vec<Vec<Token>>,
}

/// What a door does with a number.
#[derive(Debug)]
pub struct Handling {
    /// Its state.
    pub state: State,
    /// Functions of the rooms behind, called as `hv.name(...)`.
    pub rooms: Vec<String>,
}

/// Doors by the constant of the hypercall's number.
pub type Doors = BTreeMap<String, Door>;

/// Follows the dispatch table.
pub fn read(root: &Path) -> Result<Doors> {
    let folder = root.join("xen-core/src/hypercall");
    let table = tokens::read(&folder.join("table.rs"))?;
    let mut files = Vec::new();
    for path in sources::rust_files(&folder)? {
        if path.file_name().is_some_and(|name| name != "tests.rs") {
            let tokens = tokens::without_tests(tokens::read(&path)?);
            files.push((path, tokens));
        }
    }
    let mut doors = Doors::new();
    for arm in arms(&table) {
        let Some((_, constant)) = tokens::paths(&arm.pattern)
            .into_iter()
            .find(|(kind, _)| *kind == "H")
        else {
            continue;
        };
        let Some(handler) = after_dot(&arm.body, "self").into_iter().next() else {
            continue;
        };
        let defines = |tokens: &[Token]| {
            tokens::functions(tokens)
                .iter()
                .any(|function| function.name == handler)
        };
        let Some((file, _)) = files.iter().find(|(_, tokens)| defines(tokens)) else {
            bail!("hypercall/table.rs routes to {handler}, which no file of hypercall/ defines");
        };
        let base = if file.file_name().is_some_and(|name| name == "mod.rs") {
            file.parent().unwrap_or(file).to_path_buf()
        } else {
            file.with_extension("")
        };
        let own = files
            .iter()
            .filter(|(path, _)| path == file || path.starts_with(&base));
        let sources = own.map(|(_, tokens)| tokens.clone()).collect();
        doors.insert(
            constant.to_owned(),
            Door {
                file: file.clone(),
                sources,
            },
        );
    }
    Ok(doors)
}

impl Door {
    /// What becomes of `kind::constant`.
    pub fn handling(&self, kind: &str, constant: &str) -> Handling {
        let mut state = None;
        let mut rooms = Vec::new();
        let mut otherwise = "ENOSYS".to_owned();
        for source in &self.sources {
            let aliases = tokens::aliases(source);
            let is_kind = |name: &str| name == kind || aliases.contains(&(name, kind));
            let is_it = |path: &(&str, &str)| is_kind(path.0) && path.1 == constant;
            for arm in arms(source) {
                if arm.siblings.iter().any(|name| is_kind(name)) && arm.is_wildcard() {
                    otherwise = errnos(&arm.body).pop().unwrap_or(otherwise);
                }
                if !tokens::paths(&arm.pattern).iter().any(is_it) {
                    continue;
                }
                let errnos = errnos(&arm.body);
                let acts = tokens::calls(&arm.body)
                    .iter()
                    .any(|name| !matches!(*name, "Err" | "into"));
                if errnos.is_empty() || acts {
                    state = Some(State::Works);
                } else if state.is_none() {
                    state = Some(State::Refused(errnos));
                }
                rooms.extend(after_dot(&arm.body, "hv").into_iter().map(str::to_owned));
            }
            if state.is_none() && tokens::paths(source).iter().any(is_it) {
                state = Some(State::Works);
            }
        }
        Handling {
            state: state.unwrap_or(State::Unknown(otherwise)),
            rooms,
        }
    }
}

/// An arm of a match.
#[derive(Debug)]
struct Arm {
    pattern: Vec<Token>,
    body: Vec<Token>,
    /// Types in the patterns of the whole match.
    siblings: Vec<String>,
}

impl Arm {
    fn is_wildcard(&self) -> bool {
        matches!(&self.pattern[..], [Token::Word(name)] if name == "_")
    }
}

/// Every match arm below these tokens.
fn arms(tokens: &[Token]) -> Vec<Arm> {
    let mut found = Vec::new();
    let mut start = 0;
    let mut at = 0;
    while let Some(rest) = tokens.get(at..).filter(|rest| !rest.is_empty()) {
        let [equals, arrow, body, ..] = rest else {
            break;
        };
        if !(equals.is('=') && arrow.is('>')) {
            at += 1;
            continue;
        }
        let end = match body.group(Delimiter::Brace) {
            Some(_) => at + 3,
            None => rest
                .iter()
                .position(|token| token.is(','))
                .map_or(tokens.len(), |comma| at + comma),
        };
        found.push(Arm {
            pattern: tokens[start..at].to_vec(),
            body: tokens[at + 2..end].to_vec(),
            siblings: Vec::new(),
        });
        start = if tokens.get(end).is_some_and(|token| token.is(',')) {
            end + 1
        } else {
            end
        };
        at = start;
    }
    let kinds = |arm: &Arm| {
        tokens::paths(&arm.pattern)
            .iter()
            .map(|(kind, _)| (*kind).to_owned())
            .collect::<Vec<_>>()
    };
    let siblings: Vec<String> = found.iter().flat_map(kinds).collect();
    for arm in &mut found {
        arm.siblings.clone_from(&siblings);
    }
    for token in tokens {
        if let Token::Group(_, inner) = token {
            found.extend(arms(inner));
        }
    }
    found
}

fn errnos(tokens: &[Token]) -> Vec<String> {
    let named = tokens::paths(tokens)
        .into_iter()
        .filter(|(kind, _)| *kind == "Errno");
    named.map(|(_, errno)| errno.to_owned()).collect()
}

/// Methods called on `object`.
fn after_dot<'a>(tokens: &'a [Token], object: &str) -> Vec<&'a str> {
    let mut found = Vec::new();
    for window in tokens.windows(4) {
        if let [Token::Word(own), dot, Token::Word(method), arguments] = window
            && own == object
            && dot.is('.')
            && arguments.group(Delimiter::Parenthesis).is_some()
        {
            found.push(method.as_str());
        }
    }
    for token in tokens {
        if let Token::Group(_, inner) = token {
            found.extend(after_dot(inner, object));
        }
    }
    found
}
