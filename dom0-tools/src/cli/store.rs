//! `xeno store`: xenstore by hand.

use clap::Subcommand;
use serde_json::{Map, Value};

use super::output;
use crate::domain::{Code, ToolError};
use crate::store::{Connection, Perms, Store, Tx};

/// Read and write xenstore.
#[derive(Subcommand, Debug)]
pub enum StoreCommand {
    /// Print a node and all below it
    Ls {
        /// Print owners and rights, too
        #[arg(short)]
        perms: bool,
        /// Print whole paths
        #[arg(short)]
        full: bool,
        /// The node
        #[arg(default_value = "/")]
        path: String,
    },
    /// Print the value of nodes
    Read {
        /// The nodes
        #[arg(required = true)]
        paths: Vec<String>,
    },
    /// Set the value of a node
    Write {
        /// The node
        path: String,
        /// The value
        value: String,
    },
    /// Remove nodes with all below them
    Rm {
        /// The nodes
        #[arg(required = true)]
        paths: Vec<String>,
    },
    /// Set the owner and the rights of a node: n0 r5
    Chmod {
        /// The node
        path: String,
        /// The owner's entry first
        #[arg(required = true)]
        perms: Vec<String>,
    },
    /// Print paths as they change
    Watch {
        /// Stop after this many changes
        #[arg(short, value_name = "NUMBER")]
        number: Option<u32>,
        /// The nodes
        #[arg(required = true)]
        paths: Vec<String>,
    },
}

impl StoreCommand {
    pub fn run(&self, json: bool) -> Result<(), ToolError> {
        let connection = Connection::open()?;
        let store: &dyn Store = &connection;
        match self {
            Self::Ls { path, .. } if json => {
                let tree = tree(store, path)?.ok_or_else(|| no_node(path))?;
                output::json(&tree)
            }
            Self::Ls { perms, full, path } => {
                let listing = Listing {
                    store,
                    perms: *perms,
                    full: *full,
                };
                listing.print(path)
            }
            Self::Read { paths } => {
                let mut values = Map::new();
                for path in paths {
                    let value = store.read(Tx::NONE, path)?.ok_or_else(|| no_node(path))?;
                    let value = String::from_utf8_lossy(&value).into_owned();
                    if json {
                        values.insert(path.clone(), value.into());
                    } else {
                        output::line(&value)?;
                    }
                }
                if json {
                    output::json(&values)?;
                }
                Ok(())
            }
            Self::Write { path, value } => Ok(store.write(Tx::NONE, path, value.as_bytes())?),
            Self::Rm { paths } => {
                for path in paths {
                    if !store.remove(Tx::NONE, path)? {
                        return Err(no_node(path));
                    }
                }
                Ok(())
            }
            Self::Chmod { path, perms } => {
                let perms: String = perms.iter().map(|entry| format!("{entry}\0")).collect();
                Ok(store.set_perms(Tx::NONE, path, &Perms(perms))?)
            }
            Self::Watch { number, paths } => {
                for path in paths {
                    store.watch(path, path)?;
                }
                let mut left = *number;
                while left != Some(0) {
                    if let Some(event) = store.event(None)? {
                        output::line(&event.path)?;
                    }
                    left = left.map(|left| left - 1);
                }
                Ok(())
            }
        }
    }
}

fn no_node(path: &str) -> ToolError {
    ToolError::new(Code::NotFound, format!("xenstore has no node {path}"))
}

struct Listing<'a> {
    store: &'a dyn Store,
    perms: bool,
    full: bool,
}

impl Listing<'_> {
    fn print(&self, path: &str) -> Result<(), ToolError> {
        if self.store.list(Tx::NONE, path)?.is_none() {
            return Err(no_node(path));
        }
        self.below(path, 0)
    }

    fn below(&self, path: &str, depth: usize) -> Result<(), ToolError> {
        for name in self.store.children(path)? {
            let child = format!("{}/{name}", path.trim_end_matches('/'));
            // Gone since it was listed.
            let Some(value) = self.store.read(Tx::NONE, &child)? else {
                continue;
            };
            let value: String = value
                .iter()
                .flat_map(|byte| std::ascii::escape_default(*byte))
                .map(char::from)
                .collect();
            let shown = if self.full {
                child.clone()
            } else {
                format!("{}{name}", " ".repeat(depth))
            };
            let mut line = format!("{shown} = \"{value}\"");
            if self.perms {
                let perms = self.store.perms(Tx::NONE, &child)?;
                let entries: Vec<&str> = perms.0.split_terminator('\0').collect();
                line.push_str(&format!("   ({})", entries.join(",")));
            }
            output::line(&line)?;
            self.below(&child, depth + 1)?;
        }
        Ok(())
    }
}

/// A node as JSON: a leaf is its value; any other has its value under "".
fn tree(store: &dyn Store, path: &str) -> Result<Option<Value>, ToolError> {
    let Some(value) = store.read(Tx::NONE, path)? else {
        return Ok(None);
    };
    let value = String::from_utf8_lossy(&value).into_owned();
    let children = store.children(path)?;
    if children.is_empty() {
        return Ok(Some(value.into()));
    }
    let mut map = Map::new();
    if !value.is_empty() {
        map.insert(String::new(), value.into());
    }
    for name in children {
        let child = format!("{}/{name}", path.trim_end_matches('/'));
        if let Some(tree) = tree(store, &child)? {
            map.insert(name, tree);
        }
    }
    Ok(Some(map.into()))
}
