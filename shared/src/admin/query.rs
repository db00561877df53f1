//! The query of a call to an admin listener.

/// Names and values of a query, decoded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads `a=b&c=d`, percent-encoded, if every name is among `known` and stands there once.
    ///
    /// # Errors
    /// A sentence for whoever called.
    pub fn parse(query: Option<&str>, known: &[&str]) -> Result<Self, String> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = decode(name).zip(decode(value)).ok_or("the query is not percent-encoded UTF-8")?;
            if !known.contains(&name.as_str()) {
                return Err(format!("there is no parameter \"{name}\" here (there are {})", known.join(", ")));
            }
            if pairs.iter().any(|(other, _)| *other == name) {
                return Err(format!("\"{name}\" is given twice"));
            }
            pairs.push((name, value));
        }
        Ok(Self(pairs))
    }

    /// The value of a parameter.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether a parameter is `true`, or there without a value.
    ///
    /// # Errors
    /// A sentence about any other value.
    pub fn is_set(&self, name: &str) -> Result<bool, String> {
        match self.get(name) {
            None | Some("false") => Ok(false),
            Some("" | "true") => Ok(true),
            Some(_) => Err(format!("\"{name}\" is true or false")),
        }
    }

    /// A number from 1 to `most`; without one it is `usual`.
    ///
    /// # Errors
    /// A sentence about anything else.
    pub fn count(&self, name: &str, usual: usize, most: usize) -> Result<usize, String> {
        let Some(text) = self.get(name) else { return Ok(usual) };
        let count = text.parse().ok().filter(|count| (1..=most).contains(count));
        count.ok_or_else(|| format!("\"{name}\" is a number from 1 to {most}"))
    }
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            b'+' => b' ',
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_known_and_refuses_the_rest() {
        let known = ["network", "force", "limit"];
        let query = Query::parse(Some("network=2001%3Adb8::/32&force&limit=7"), &known).unwrap();
        assert_eq!((query.get("network"), query.is_set("force")), (Some("2001:db8::/32"), Ok(true)));
        assert_eq!((query.count("limit", 5, 10), query.count("limit", 5, 6).is_err()), (Ok(7), true));
        assert_eq!(Query::parse(None, &known), Ok(Query::default()));
        for wrong in ["other=1", "force&force", "network=%zz", "network=%c3"] {
            assert!(Query::parse(Some(wrong), &known).is_err(), "{wrong}");
        }
    }
}
