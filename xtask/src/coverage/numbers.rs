//! The numbers that `hypercall-abi` names with `codes!`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use proc_macro2::Delimiter;

use crate::sources;
use crate::tokens::{self, Token};

/// One number of the contract.
#[derive(Debug)]
pub struct Code {
    /// Its constant in Rust, without the type.
    pub constant: String,
    /// Its name in C.
    pub c_name: String,
    /// Its value as written.
    pub value: String,
}

/// Types with their numbers, by the type's name.
pub type Codes = BTreeMap<String, Vec<Code>>;

/// Reads them all.
pub fn read(root: &Path) -> Result<Codes> {
    let mut codes = Codes::new();
    for path in sources::rust_files(&root.join("hypercall-abi/src"))? {
        let tokens = tokens::read(&path)?;
        for window in tokens.windows(3) {
            if let [Token::Word(name), bang, group] = window
                && name == "codes"
                && bang.is('!')
                && let Some(inner) = group.group(Delimiter::Brace)
                && let Some((name, list)) = definition(inner)
            {
                codes.insert(name, list);
            }
        }
    }
    Ok(codes)
}

/// `pub struct Name(u32); prefix "P_" { ... } ...`
fn definition(tokens: &[Token]) -> Option<(String, Vec<Code>)> {
    let at = tokens
        .iter()
        .position(|token| token.word() == Some("struct"))?;
    let name = tokens.get(at + 1)?.word()?.to_owned();
    let mut codes = Vec::new();
    for window in tokens.windows(3) {
        if let [Token::Word(keyword), prefix, group] = window
            && keyword == "prefix"
            && let (Some(prefix), Some(inner)) = (prefix.string(), group.group(Delimiter::Brace))
        {
            codes.extend(
                tokens::split(inner, ',')
                    .into_iter()
                    .filter_map(|value| code(&prefix, value)),
            );
        }
    }
    Some((name, codes))
}

/// `#[doc = "..."] name = value`
fn code(prefix: &str, tokens: &[Token]) -> Option<Code> {
    let rest = tokens
        .iter()
        .skip_while(|token| token.is('#') || token.group(Delimiter::Bracket).is_some());
    let rest: Vec<&Token> = rest.collect();
    let [name, equals, value @ ..] = &rest[..] else {
        return None;
    };
    let name = name.word()?;
    if !equals.is('=') {
        return None;
    }
    let value = value
        .iter()
        .map(|token| match token {
            Token::Word(text) | Token::Literal(text) => text.clone(),
            Token::Sign(sign) => sign.to_string(),
            Token::Group(..) => "(...)".to_owned(),
        })
        .collect();
    Some(Code {
        constant: name.to_uppercase(),
        c_name: format!("{prefix}{name}"),
        value,
    })
}
