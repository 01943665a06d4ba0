//! Random requests of three clients, against a model that is a list of paths.
//!
//! The model knows only what xenstore.txt promises: a transaction that nobody interfered with is committed and is then the tree; one
//! that somebody interfered with is committed without harm to the other's changes, or not at all.

use std::collections::{BTreeMap, BTreeSet};

use dom0_tools::xenstore::path;
use dom0_tools::xenstored::connection::ConnectionId;
use hypercall_abi::io::xs_wire::XsdSockmsgType as Kind;
use proptest::prelude::*;

use crate::fake::Bench;

const PATHS: [&str; 8] = [
    "/m", "/m/a", "/m/a/x", "/m/a/y", "/m/b", "/m/b/c/d", "/n", "/n/o",
];

#[derive(Clone, Debug)]
enum Step {
    Write(usize, u8),
    Remove(usize),
    Make(usize),
    Read(usize),
    List(usize),
    Begin,
    End(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let path = 0..PATHS.len();
    prop_oneof![
        (path.clone(), any::<u8>()).prop_map(|(path, value)| Step::Write(path, value)),
        path.clone().prop_map(Step::Remove),
        path.clone().prop_map(Step::Make),
        path.clone().prop_map(Step::Read),
        path.prop_map(Step::List),
        Just(Step::Begin),
        any::<bool>().prop_map(Step::End),
    ]
}

type Tree = BTreeMap<String, Vec<u8>>;

fn write(tree: &mut Tree, path: &str, value: Option<u8>) -> BTreeSet<String> {
    let mut changed = BTreeSet::new();
    for above in path::with_ancestors(path).skip(1) {
        if tree.contains_key(above) {
            break;
        }
        tree.insert(above.to_owned(), Vec::new());
        changed.insert(above.to_owned());
    }
    if value.is_some() || !tree.contains_key(path) {
        tree.insert(path.to_owned(), value.into_iter().collect());
        changed.insert(path.to_owned());
    }
    changed
}

fn is_below(path: &str, top: &str) -> bool {
    path::with_ancestors(path).any(|above| above == top)
}

fn children(tree: &Tree, top: &str) -> BTreeSet<String> {
    tree.keys()
        .filter(|other| *other != top && *other != "/" && path::parent(other) == top)
        .map(|other| path::leaf(other).to_owned())
        .collect()
}

struct Client {
    id: ConnectionId,
    open: Option<Open>,
}

struct Open {
    number: u32,
    /// How often the tree had been written to at the start.
    version: u64,
    start: Tree,
    view: Tree,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn trees_transactions_and_watches_are_the_models(steps in prop::collection::vec((0usize..3, step()), 1..80)) {
        let mut bench = Bench::new();
        let mut tree: Tree = [("/", ""), ("/tool", ""), ("/tool/xenstored", "")].iter().map(|(path, value)| ((*path).to_owned(), value.as_bytes().to_vec())).collect();
        let watcher = bench.daemon.connect();
        bench.answer(watcher, Kind::WATCH, 0, b"/m\0token\0");
        while bench.next(watcher).is_some() {}
        let mut clients: Vec<_> = (0..3).map(|_| Client { id: bench.daemon.connect(), open: None }).collect();
        for (who, step) in steps {
            let client = &mut clients[who];
            let number = client.open.as_ref().map_or(0, |open| open.number);
            let version = bench.daemon.database().writes();
            let before = tree.clone();
            let mut told = BTreeSet::new();
            // What a transaction sees after somebody else has changed something is not told exactly.
            let undisturbed = client.open.as_ref().is_none_or(|open| open.version == version);
            let view = client.open.as_mut().map_or(&mut tree, |open| &mut open.view);
            let ok = |kind: Kind| (kind, b"OK\0".to_vec());
            let missing = (Kind::ERROR, b"ENOENT\0".to_vec());
            let (kind, payload, expected) = match &step {
                Step::Write(path, value) => {
                    write(view, PATHS[*path], Some(*value));
                    told.insert(PATHS[*path].to_owned());
                    (Kind::WRITE, [PATHS[*path].as_bytes(), &[0, *value]].concat(), ok(Kind::WRITE))
                }
                Step::Make(path) => {
                    if write(view, PATHS[*path], None).contains(PATHS[*path]) {
                        told.insert(PATHS[*path].to_owned());
                    }
                    (Kind::MKDIR, [PATHS[*path].as_bytes(), b"\0"].concat(), ok(Kind::MKDIR))
                }
                Step::Remove(path) => {
                    let top = PATHS[*path];
                    let expected = if view.contains_key(path::parent(top)) { ok(Kind::RM) } else { missing };
                    if view.contains_key(top) {
                        told.insert(top.to_owned());
                    }
                    view.retain(|other, _| !is_below(other, top));
                    (Kind::RM, [top.as_bytes(), b"\0"].concat(), expected)
                }
                Step::Read(path) => {
                    let expected = view.get(PATHS[*path]).map_or(missing, |value| (Kind::READ, value.clone()));
                    (Kind::READ, [PATHS[*path].as_bytes(), b"\0"].concat(), expected)
                }
                Step::List(path) => {
                    let list = children(view, PATHS[*path]);
                    let exists = view.contains_key(PATHS[*path]);
                    let answer = bench.answer(client.id, Kind::DIRECTORY, number, &[PATHS[*path].as_bytes(), b"\0"].concat());
                    if undisturbed {
                        prop_assert_eq!(answer.kind == Kind::DIRECTORY, exists);
                        if exists {
                            let got: BTreeSet<_> = dom0_tools::xenstore::wire::strings(&answer.payload).map(|name| String::from_utf8(name.to_vec()).unwrap()).collect();
                            prop_assert_eq!(got, list);
                        }
                    }
                    continue;
                }
                Step::Begin => {
                    if number == 0 {
                        let answer = bench.answer(client.id, Kind::TRANSACTION_START, 0, b"\0");
                        let text = String::from_utf8(answer.payload[..answer.payload.len() - 1].to_vec()).unwrap();
                        client.open = Some(Open { number: text.parse().unwrap(), version, start: tree.clone(), view: tree.clone() });
                    }
                    continue;
                }
                Step::End(commit) => {
                    let Some(Open { number, start, view, .. }) = client.open.take() else { continue };
                    let answer = bench.answer(client.id, Kind::TRANSACTION_END, number, if *commit { b"T\0" } else { b"F\0" });
                    while bench.next(watcher).is_some() {}
                    if !commit {
                        prop_assert_eq!(answer.kind, Kind::TRANSACTION_END);
                    } else if undisturbed {
                        prop_assert_eq!(answer.kind, Kind::TRANSACTION_END);
                        tree = view;
                    } else if answer.kind == Kind::TRANSACTION_END {
                        // What the transaction changed is as it made it; what others changed meanwhile is as they made it.
                        let mut merged = tree.clone();
                        for path in start.keys().chain(view.keys()) {
                            if start.get(path) != view.get(path) {
                                match view.get(path) {
                                    Some(value) => merged.insert(path.clone(), value.clone()),
                                    None => merged.remove(path),
                                };
                            }
                        }
                        tree = bench.daemon.database().all().into_iter().map(|(path, node)| (path.to_owned(), node.value.to_vec())).collect();
                        for (path, value) in &merged {
                            if start.get(path) != view.get(path) && view.get(path) == Some(value) {
                                prop_assert!(tree.contains_key(path), "{} is lost", path);
                            }
                        }
                    } else {
                        prop_assert_eq!(answer.payload, b"EAGAIN\0".to_vec());
                    }
                    continue;
                }
            };
            let answer = bench.answer(client.id, kind, number, &payload);
            if undisturbed {
                prop_assert_eq!((answer.kind, answer.payload), expected, "{:?}", step);
            }
            let mut events = BTreeSet::new();
            while let Some(event) = bench.next(watcher) {
                let path = event.payload.split(|byte| *byte == 0).next().unwrap();
                events.insert(String::from_utf8(path.to_vec()).unwrap());
            }
            if number == 0 {
                told.retain(|path| is_below(path, "/m"));
                prop_assert_eq!(events, told, "{:?}", step);
                let now: Tree = bench.daemon.database().all().into_iter().map(|(path, node)| (path.to_owned(), node.value.to_vec())).collect();
                prop_assert_eq!(&now, &tree);
            } else {
                prop_assert!(events.is_empty());
                prop_assert_eq!(&before, &tree);
            }
            prop_assert!(bench.daemon.database().check().is_empty());
        }
        let now: Vec<_> = bench.daemon.database().all().into_iter().map(|(path, node)| (path.to_owned(), node.value.clone())).collect();
        bench.restart();
        let again: Vec<_> = bench.daemon.database().all().into_iter().map(|(path, node)| (path.to_owned(), node.value.clone())).collect();
        prop_assert_eq!(now, again);
    }
}
