//! `cargo xtask coverage`: writes `docs/hypercall-coverage.md` from the dispatch table, the doors, `hypercall-abi` and the tests.
//!
//! What cannot be derived stands in `docs/hypercall-coverage.toml`.

mod doors;
mod evidence;
mod notes;
mod numbers;
mod page;

use std::fs;

use anyhow::{Context, Result, bail};
use xenolith_tests::scenarios;

use crate::sources;
use doors::{Handling, State};
use evidence::{Evidence, Test};
use notes::Notes;
use numbers::{Code, Codes};

/// Options of `cargo xtask coverage`.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct Options {
    /// Change nothing; fail if the page is not what the code says
    #[arg(long)]
    pub check: bool,
}

/// One line of the page.
#[derive(Debug)]
struct Row {
    name: String,
    value: String,
    state: String,
    is_refused: bool,
    note: String,
    tests: Vec<Test>,
}

/// One hypercall.
#[derive(Debug)]
struct Section {
    name: String,
    value: String,
    /// The door's file, if the number is routed.
    door: Option<String>,
    note: String,
    tests: Vec<Test>,
    rows: Vec<Row>,
}

/// Writes the page, or with `--check` compares it.
pub fn run(options: Options) -> Result<()> {
    let root = sources::root();
    let mut complaints = Vec::new();
    let sections = Survey::read()?.sections(&mut complaints);
    let text = page::render(&sections);
    let path = root.join("docs/hypercall-coverage.md");
    if !options.check {
        fs::write(&path, &text).with_context(|| format!("cannot write {}", path.display()))?;
        println!("wrote {}", path.display());
    } else if fs::read_to_string(&path).unwrap_or_default() != text {
        complaints.push(
            "docs/hypercall-coverage.md is not what the code says; run cargo xtask coverage"
                .to_owned(),
        );
    }
    if !complaints.is_empty() {
        bail!("{}", complaints.join("\n"));
    }
    Ok(())
}

/// All that the page is made from.
struct Survey {
    codes: Codes,
    doors: doors::Doors,
    evidence: Evidence,
    notes: Notes,
    boots: Vec<&'static str>,
}

impl Survey {
    fn read() -> Result<Self> {
        let root = sources::root();
        Ok(Self {
            codes: numbers::read(&root)?,
            doors: doors::read(&root)?,
            evidence: Evidence::read(&root)?,
            notes: notes::read(&root)?,
            boots: scenarios::all()
                .iter()
                .map(|scenario| scenario.name)
                .collect(),
        })
    }

    fn sections(&self, complaints: &mut Vec<String>) -> Vec<Section> {
        let hypercalls = self.codes.get("HypercallNr").map_or(&[][..], Vec::as_slice);
        let sections = hypercalls
            .iter()
            .map(|code| self.section(code, complaints))
            .collect::<Vec<_>>();
        self.check_names(&sections, complaints);
        sections
    }

    fn section(&self, code: &Code, complaints: &mut Vec<String>) -> Section {
        let name = code.constant.to_lowercase();
        let notes = self.notes.hypercall.get(&name);
        let door = self.doors.get(&code.constant);
        let fallback = notes
            .and_then(|notes| notes.test.as_deref())
            .and_then(|test| self.test(test, complaints));
        let mut tests = door.map_or(Vec::new(), |_| self.evidence.of_call(&code.constant));
        if tests.is_empty() {
            tests.extend(fallback.clone());
        }
        let mut rows = Vec::new();
        for kind in notes.map_or(&[][..], |notes| &notes.types) {
            let Some(list) = self.codes.get(kind) else {
                complaints.push(format!(
                    "hypercall-coverage.toml: hypercall-abi has no numbers called {kind}"
                ));
                continue;
            };
            for number in list {
                // Of several names for one number the door uses one.
                let constant = list
                    .iter()
                    .filter(|other| other.value == number.value)
                    .map(|other| other.constant.as_str())
                    .find(|constant| {
                        door.is_some_and(|door| {
                            !matches!(door.handling(kind, constant).state, State::Unknown(_))
                        })
                    })
                    .unwrap_or(&number.constant);
                let handling = door.map_or_else(
                    || Handling {
                        state: State::Unknown("ENOSYS".to_owned()),
                        rooms: Vec::new(),
                    },
                    |door| door.handling(kind, constant),
                );
                rows.push(self.row(
                    kind,
                    number,
                    &handling,
                    door.is_some().then(|| fallback.clone()).flatten(),
                    complaints,
                ));
            }
        }
        for boot in notes.map_or(&[][..], |notes| &notes.dom0_boot) {
            let missing = if *boot == name {
                tests.is_empty()
            } else if let Some(row) = rows.iter().find(|row| row.name == *boot) {
                row.tests.is_empty()
            } else {
                complaints.push(format!(
                    "hypercall-coverage.toml: {name} has no number called {boot}"
                ));
                false
            };
            if door.is_some() && missing {
                complaints.push(format!("{name}: {boot} is needed to boot and has no test"));
            }
        }
        Section {
            name,
            value: code.value.clone(),
            door: door.map(|door| sources::shown(&door.file)),
            note: notes
                .and_then(|notes| notes.note.clone())
                .unwrap_or_default(),
            tests,
            rows,
        }
    }

    fn row(
        &self,
        kind: &str,
        code: &Code,
        handling: &Handling,
        fallback: Option<Test>,
        complaints: &mut Vec<String>,
    ) -> Row {
        let notes = self.notes.number.get(&code.c_name);
        let mut tests = self.evidence.of(kind, &code.constant, &handling.rooms);
        let own = notes
            .and_then(|notes| notes.test.as_deref())
            .and_then(|test| self.test(test, complaints));
        tests.extend(own);
        if tests.is_empty() {
            tests.extend(fallback);
        }
        let note = notes
            .and_then(|notes| notes.note.clone())
            .unwrap_or_default();
        let (state, is_refused) =
            match (notes.and_then(|notes| notes.state.clone()), &handling.state) {
                (Some(state), _) => {
                    let is_refused = state != "works";
                    (state, is_refused)
                }
                (None, State::Works) => ("works".to_owned(), false),
                (None, State::Refused(errnos)) => {
                    if note.is_empty() {
                        complaints.push(format!(
                            "hypercall-coverage.toml does not say why {} is refused",
                            code.c_name
                        ));
                    }
                    (format!("-{}", errnos.join(", -")), true)
                }
                (None, State::Unknown(errno)) => {
                    // Nothing to show: no door names it.
                    tests.retain(|test| {
                        notes.is_some_and(|notes| notes.test.as_deref() == Some(&test.to_string()))
                    });
                    (format!("-{errno}"), true)
                }
            };
        Row {
            name: code.c_name.clone(),
            value: code.value.clone(),
            state,
            is_refused,
            note,
            tests,
        }
    }

    /// A test as the notes name it: `file#function`, or `boot NAME`.
    fn test(&self, text: &str, complaints: &mut Vec<String>) -> Option<Test> {
        if let Some(name) = text.strip_prefix("boot ") {
            if self.boots.contains(&name) {
                return Some(Test {
                    file: String::new(),
                    name: name.to_owned(),
                });
            }
        } else if let Some((file, name)) = text.split_once('#') {
            let test = Test {
                file: file.to_owned(),
                name: name.to_owned(),
            };
            if self.evidence.has(&test) {
                return Some(test);
            }
        }
        complaints.push(format!("hypercall-coverage.toml: there is no test {text}"));
        None
    }

    /// The notes may speak only of what exists.
    fn check_names(&self, sections: &[Section], complaints: &mut Vec<String>) {
        for name in self.notes.hypercall.keys() {
            if !sections.iter().any(|section| section.name == *name) {
                complaints.push(format!(
                    "hypercall-coverage.toml: there is no hypercall {name}"
                ));
            }
        }
        for name in self.notes.number.keys() {
            if !sections
                .iter()
                .flat_map(|section| &section.rows)
                .any(|row| row.name == *name)
            {
                complaints.push(format!(
                    "hypercall-coverage.toml: no hypercall takes a number called {name}"
                ));
            }
        }
        for constant in self.doors.keys() {
            if !sections
                .iter()
                .any(|section| section.name.eq_ignore_ascii_case(constant))
            {
                complaints.push(format!(
                    "hypercall/table.rs routes {constant}, which hypercall-abi does not define"
                ));
            }
        }
    }
}
