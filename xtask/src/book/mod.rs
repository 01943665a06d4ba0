//! `cargo xtask book`: checks that the book says what is there.

mod links;
mod options;
mod ranks;

use anyhow::{Result, bail};

/// All checks of the book.
pub fn check() -> Result<()> {
    let mut complaints = links::check()?;
    complaints.extend(options::check()?);
    complaints.extend(ranks::check()?);
    if !complaints.is_empty() {
        bail!("{}", complaints.join("\n"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_book_says_what_is_there() {
        super::check().expect("the book");
    }
}
