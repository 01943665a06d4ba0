//! Rust source as a tree of tokens, which is all that the questions asked here need.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A token, or a bracketed group of them. Comments are gone; documentation is an attribute.
#[derive(Clone, Debug)]
pub enum Token {
    /// A name or keyword.
    Word(String),
    /// A sign.
    Sign(char),
    /// A literal as written.
    Literal(String),
    /// What stands between brackets of one kind.
    Group(Delimiter, Vec<Token>),
}

impl Token {
    /// The name, if it is one.
    pub fn word(&self) -> Option<&str> {
        match self {
            Self::Word(word) => Some(word),
            _ => None,
        }
    }

    /// Whether it is this sign.
    pub fn is(&self, sign: char) -> bool {
        matches!(self, Self::Sign(own) if *own == sign)
    }

    /// What is between brackets of this kind.
    pub fn group(&self, delimiter: Delimiter) -> Option<&[Self]> {
        match self {
            Self::Group(own, inner) if *own == delimiter => Some(inner),
            _ => None,
        }
    }

    /// The text of a string literal.
    pub fn string(&self) -> Option<String> {
        match self {
            Self::Literal(text) => Some(
                text.strip_prefix('"')?
                    .strip_suffix('"')?
                    .replace("\\\"", "\""),
            ),
            _ => None,
        }
    }
}

/// Reads a source file.
pub fn read(path: &Path) -> Result<Vec<Token>> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let stream: TokenStream = text
        .parse()
        .map_err(|error| anyhow!("{}: {error}", path.display()))?;
    Ok(tree(stream))
}

fn tree(stream: TokenStream) -> Vec<Token> {
    stream
        .into_iter()
        .map(|token| match token {
            TokenTree::Ident(ident) => Token::Word(ident.to_string()),
            TokenTree::Punct(punct) => Token::Sign(punct.as_char()),
            TokenTree::Literal(literal) => Token::Literal(literal.to_string()),
            TokenTree::Group(group) => Token::Group(group.delimiter(), tree(group.stream())),
        })
        .collect()
}

/// Every `A::B` below these tokens, as pairs of names.
pub fn paths(tokens: &[Token]) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    for window in tokens.windows(4) {
        if let [Token::Word(first), a, b, Token::Word(second)] = window
            && a.is(':')
            && b.is(':')
        {
            found.push((first.as_str(), second.as_str()));
        }
    }
    for token in tokens {
        if let Token::Group(_, inner) = token {
            found.extend(paths(inner));
        }
    }
    found
}

/// Every name below these tokens that is followed by an argument list.
pub fn calls(tokens: &[Token]) -> Vec<&str> {
    let mut found = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        match token {
            Token::Word(name) if called(tokens.get(index + 1..).unwrap_or_default()) => {
                found.push(name.as_str())
            }
            Token::Group(_, inner) => found.extend(calls(inner)),
            _ => {}
        }
    }
    found
}

/// Whether an argument list, perhaps after `::<T>`, comes next.
fn called(rest: &[Token]) -> bool {
    match rest {
        [first, ..] if first.group(Delimiter::Parenthesis).is_some() => true,
        [a, b, c, rest @ ..] if a.is(':') && b.is(':') && c.is('<') => rest
            .iter()
            .skip_while(|token| !token.is('>'))
            .nth(1)
            .is_some_and(|token| token.group(Delimiter::Parenthesis).is_some()),
        _ => false,
    }
}

/// Other names for types in this file: `use path::Type as Other`, `use Type as Other`.
pub fn aliases(tokens: &[Token]) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    for window in tokens.windows(3) {
        if let [Token::Word(name), Token::Word(between), Token::Word(other)] = window
            && between == "as"
        {
            found.push((other.as_str(), name.as_str()));
        }
    }
    for token in tokens {
        if let Token::Group(_, inner) = token {
            found.extend(aliases(inner));
        }
    }
    found
}

/// A function with what stands in its body.
#[derive(Debug)]
pub struct Function<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whether it carries `#[test]`.
    pub is_test: bool,
    /// Its body.
    pub body: &'a [Token],
}

/// Every function below these tokens, also those in macros such as `proptest!`.
pub fn functions(tokens: &[Token]) -> Vec<Function<'_>> {
    let mut found = Vec::new();
    let mut is_test = false;
    for (index, token) in tokens.iter().enumerate() {
        match token {
            Token::Sign('#') => {
                if let Some(attribute) = tokens
                    .get(index + 1)
                    .and_then(|next| next.group(Delimiter::Bracket))
                {
                    is_test |= matches!(attribute, [Token::Word(name)] if name == "test");
                }
            }
            Token::Word(word) if word == "fn" => {
                let name = tokens.get(index + 1).and_then(Token::word);
                let body = tokens
                    .iter()
                    .skip(index + 1)
                    .take_while(|token| !token.is(';'))
                    .find_map(|token| token.group(Delimiter::Brace));
                if let (Some(name), Some(body)) = (name, body) {
                    found.push(Function {
                        name,
                        is_test,
                        body,
                    });
                }
                is_test = false;
            }
            Token::Word(word) if word == "mod" || word == "impl" => is_test = false,
            Token::Group(_, inner) => found.extend(functions(inner)),
            _ => {}
        }
    }
    found
}

/// Drops what is compiled for tests only.
pub fn without_tests(tokens: Vec<Token>) -> Vec<Token> {
    let mut kept = Vec::new();
    let mut skipping = false;
    for token in tokens {
        if skipping {
            skipping = !(token.is(';') || token.group(Delimiter::Brace).is_some());
            continue;
        }
        let is_cfg_test = matches!(token.group(Delimiter::Bracket), Some([Token::Word(cfg), Token::Group(_, inner)])
            if cfg == "cfg" && matches!(&inner[..], [Token::Word(test)] if test == "test"));
        if is_cfg_test {
            kept.pop();
            skipping = true;
        } else {
            kept.push(token);
        }
    }
    kept
}

/// Splits at a sign.
pub fn split(tokens: &[Token], sign: char) -> Vec<&[Token]> {
    tokens
        .split(|token| token.is(sign))
        .filter(|part| !part.is_empty())
        .collect()
}
