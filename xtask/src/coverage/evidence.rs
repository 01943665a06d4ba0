//! Which test shows what: unit tests of the logic and checks of the conformance kernel that name a number or call what it
//! leads to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Result;

use crate::sources;
use crate::tokens::{self, Token};

/// A test.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Test {
    /// Its file, from the top of the repository.
    pub file: String,
    /// Its function; for a boot test the scenario's name.
    pub name: String,
}

/// Numbers as (type, constant).
type Numbers = BTreeSet<(String, String)>;

/// What a function names and calls.
#[derive(Debug)]
struct Seen {
    test: Test,
    numbers: Numbers,
    calls: BTreeSet<String>,
}

/// Everything that could show something.
#[derive(Debug)]
pub struct Evidence {
    unit: Vec<Seen>,
    conformance: Vec<Seen>,
}

impl Evidence {
    /// Reads the tests.
    pub fn read(root: &Path) -> Result<Self> {
        Ok(Self {
            unit: unit_tests(root)?,
            conformance: conformance(root)?,
        })
    }

    /// Whether a test is there.
    pub fn has(&self, test: &Test) -> bool {
        self.unit
            .iter()
            .chain(&self.conformance)
            .any(|seen| seen.test == *test)
    }

    /// The tests that show a number: those that name it, or else those that call one of `rooms`; at most one of each kind.
    pub fn of<'a>(&'a self, kind: &str, constant: &str, rooms: &[String]) -> Vec<Test> {
        let number = (kind.to_owned(), constant.to_owned());
        let naming = |seen: &&Seen| seen.numbers.contains(&number);
        let calling = |seen: &&Seen| rooms.iter().any(|room| seen.calls.contains(room));
        // Of several the one that is about the fewest things.
        let naming = |all: &'a [Seen]| {
            all.iter()
                .filter(naming)
                .min_by_key(|seen| seen.numbers.len())
        };
        let unit = naming(&self.unit).or_else(|| {
            self.unit
                .iter()
                .filter(calling)
                .min_by_key(|seen| seen.calls.len())
        });
        let conformance = naming(&self.conformance);
        unit.into_iter()
            .chain(conformance)
            .map(|seen| seen.test.clone())
            .collect()
    }

    /// The tests of a hypercall as a whole, whose functions in Rust may also have the hypercall's own name.
    pub fn of_call(&self, constant: &str) -> Vec<Test> {
        let name = constant.to_lowercase();
        let mut tests = self.of("HypercallNr", constant, &[]);
        if tests.is_empty() {
            tests = self
                .conformance
                .iter()
                .find(|seen| seen.calls.contains(&name))
                .map(|seen| seen.test.clone())
                .into_iter()
                .collect();
        }
        tests
    }
}

/// Rust names of numbers, with types under their own names.
fn numbers(body: &[Token], aliases: &[(&str, &str)]) -> Numbers {
    let named = tokens::paths(body).into_iter().map(|(kind, constant)| {
        let kind = aliases
            .iter()
            .find(|(other, _)| *other == kind)
            .map_or(kind, |(_, own)| *own);
        (kind.to_owned(), constant.to_owned())
    });
    named.collect()
}

/// Unit tests of the logic. Functions beside them that are no tests lend them what they name.
fn unit_tests(root: &Path) -> Result<Vec<Seen>> {
    let mut tests = Vec::new();
    for path in sources::rust_files(&root.join("xen-core/src"))? {
        let source = tokens::read(&path)?;
        let aliases = tokens::aliases(&source);
        let functions = tokens::functions(&source);
        let only_tests = sources::shown(&path).contains("/tests");
        let mut helpers: BTreeMap<&str, (Numbers, Vec<&str>)> = BTreeMap::new();
        for function in functions
            .iter()
            .filter(|function| only_tests && !function.is_test)
        {
            let entry = helpers.entry(function.name).or_default();
            entry.0.extend(numbers(function.body, &aliases));
            entry.1.extend(tokens::calls(function.body));
        }
        for function in functions.iter().filter(|function| function.is_test) {
            let mut all = numbers(function.body, &aliases);
            let mut calls = BTreeSet::new();
            let mut left = tokens::calls(function.body);
            while let Some(call) = left.pop() {
                if calls.insert(call.to_owned())
                    && let Some((named, further)) = helpers.get(call)
                {
                    all.extend(named.iter().cloned());
                    left.extend(further);
                }
            }
            let test = Test {
                file: sources::shown(&path),
                name: function.name.to_owned(),
            };
            tests.push(Seen {
                test,
                numbers: all,
                calls,
            });
        }
    }
    Ok(tests)
}

/// Checks of the conformance kernel; the functions of the shim that they call lend them what these name.
fn conformance(root: &Path) -> Result<Vec<Seen>> {
    let folder = root.join("tests/guests/src/bin/conformance");
    let mut wrappers: BTreeMap<(String, String), Numbers> = BTreeMap::new();
    let mut shared = sources::rust_files(&root.join("pv-guest-shim/src"))?;
    shared.push(folder.join("call.rs"));
    for path in shared {
        let source = tokens::read(&path)?;
        let aliases = tokens::aliases(&source);
        let module = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        for function in tokens::functions(&source) {
            let key = (module.clone(), function.name.to_owned());
            wrappers
                .entry(key)
                .or_default()
                .extend(numbers(function.body, &aliases));
        }
    }
    let mut checks = Vec::new();
    for path in sources::rust_files(&folder.join("areas"))? {
        let source = tokens::read(&path)?;
        let aliases = tokens::aliases(&source);
        let words = words(&source);
        for function in tokens::functions(&source)
            .iter()
            .filter(|function| function.name != "run")
        {
            let calls: BTreeSet<String> = tokens::calls(function.body)
                .into_iter()
                .map(str::to_owned)
                .collect();
            let mut all = numbers(function.body, &aliases);
            for ((module, name), named) in &wrappers {
                if calls.contains(name) && words.contains(module.as_str()) {
                    all.extend(named.iter().cloned());
                }
            }
            let test = Test {
                file: sources::shown(&path),
                name: function.name.to_owned(),
            };
            checks.push(Seen {
                test,
                numbers: all,
                calls,
            });
        }
    }
    Ok(checks)
}

fn words(tokens: &[Token]) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    for token in tokens {
        match token {
            Token::Word(word) => {
                found.insert(word.as_str());
            }
            Token::Group(_, inner) => found.extend(words(inner)),
            _ => {}
        }
    }
    found
}
