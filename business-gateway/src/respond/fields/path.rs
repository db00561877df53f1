//! How the place of a field in JSON is written: names with dots in between, `*` for any one member or element, `**` for any
//! depth. `orders.*.card` is the card of every order, `**.password` every password wherever it stands.
//!
//! A backslash takes the meaning from the character behind it: `a\.b` is one name. An element of an array has its index as its
//! name. What looks like JSON Pointer or JSONPath is refused: read as names, it would hide nothing.

/// One step from a value into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The member of that name, or the element of that index.
    Name(Box<str>),
    /// Any one member or element.
    Any,
    /// Any number of steps, none too.
    Deep,
}

/// Most bytes of a path.
const LENGTH_MAX: usize = 1024;

/// Why a text is not a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Nothing between two dots, or nothing at all.
    #[error("a name is missing")]
    Empty,
    /// A star inside of a name.
    #[error("a star stands for a whole name")]
    Star,
    /// `**` in a row, or at the end.
    #[error("\"**\" stands for any depth, so a name or \"*\" has to follow it")]
    Deep,
    /// Brackets, or a dollar sign, as in `JSONPath`.
    #[error("not the form of JSONPath: the elements of a list are \"list.*\"")]
    JsonPath,
    /// A slash in front, as in JSON Pointer.
    #[error("not the form of JSON Pointer: names have dots in between")]
    Pointer,
    /// A backslash at the end.
    #[error("nothing follows the backslash")]
    Backslash,
    /// Longer than anybody writes.
    #[error("more than 1024 bytes")]
    TooLong,
}

/// Parses a path.
///
/// # Errors
/// When the text is none.
pub fn parse(text: &str) -> Result<Vec<Step>, PathError> {
    if text.len() > LENGTH_MAX {
        return Err(PathError::TooLong);
    }
    if text.starts_with('/') {
        return Err(PathError::Pointer);
    }
    let mut steps = Vec::new();
    let mut name = Name::default();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '.' => push(&mut steps, &std::mem::take(&mut name))?,
            '\\' => {
                name.text.push(characters.next().ok_or(PathError::Backslash)?);
                name.is_escaped = true;
            }
            '[' | ']' => return Err(PathError::JsonPath),
            '*' => {
                name.stars += 1;
                name.text.push('*');
            }
            character => name.text.push(character),
        }
    }
    push(&mut steps, &name)?;
    match steps.last() {
        Some(Step::Deep) => Err(PathError::Deep),
        _ => Ok(steps),
    }
}

#[derive(Default)]
struct Name {
    text: String,
    /// Stars that no backslash stands before.
    stars: usize,
    is_escaped: bool,
}

fn push(steps: &mut Vec<Step>, name: &Name) -> Result<(), PathError> {
    let step = match (name.stars, name.text.as_str()) {
        (_, "") => return Err(PathError::Empty),
        (1, "*") => Step::Any,
        (2, "**") if steps.last() == Some(&Step::Deep) => return Err(PathError::Deep),
        (2, "**") => Step::Deep,
        (0, "$") if !name.is_escaped => return Err(PathError::JsonPath),
        (0, text) => Step::Name(text.into()),
        _ => return Err(PathError::Star),
    };
    steps.push(step);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Step {
        Step::Name(text.into())
    }

    #[test]
    fn names_stars_and_depths_are_told_apart() {
        for (text, expected) in [
            ("a", vec![name("a")]),
            ("a.b.0", vec![name("a"), name("b"), name("0")]),
            ("orders.*.card", vec![name("orders"), Step::Any, name("card")]),
            ("**.password", vec![Step::Deep, name("password")]),
            ("a.**.*", vec![name("a"), Step::Deep, Step::Any]),
            (r"a\.b.\*.\\", vec![name("a.b"), name("*"), name("\\")]),
            (r"\$.x", vec![name("$"), name("x")]),
            ("größe", vec![name("größe")]),
        ] {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_would_hide_nothing_is_refused() {
        for (text, expected) in [
            ("", PathError::Empty),
            ("a..b", PathError::Empty),
            ("a.", PathError::Empty),
            ("a*", PathError::Star),
            ("***", PathError::Star),
            (r"\**", PathError::Star),
            ("a.**", PathError::Deep),
            ("**.**.a", PathError::Deep),
            ("$.a", PathError::JsonPath),
            ("items[*].price", PathError::JsonPath),
            ("/items/0", PathError::Pointer),
            ("a\\", PathError::Backslash),
        ] {
            assert_eq!(parse(text), Err(expected), "{text}");
        }
        assert_eq!(parse(&"a".repeat(1025)), Err(PathError::TooLong));
    }
}
