//! Which ASCII a character of Unicode becomes when a server has no better place for it.
//!
//! Servers that understand `%uHHHH` fold characters their code page lacks to similar ones ("best fit", in the tables
//! Microsoft publishes for its code pages). An attacker writes U+2019 for an apostrophe and lets the server turn it into
//! one. The table holds what looks like ASCII: Latin letters with marks, typographic punctuation, superscripts and
//! full-width forms.

/// Blocks of neighbouring characters: the first one, and the ASCII of each; NUL means that it has none.
const BLOCKS: [(u16, &[u8]); 16] = [
    (
        0x00a0,
        b" !c\0$Y|\0\0Ca<\0-R\0\0\x0023\0\0\0.,1o>\0\0\0\0AAAAAAACEEEEIIIIDNOOOOO\0OUUUUY\0\0aaaaaaaceeeeiiii\0nooooo\0ouuuuy\0y",
    ),
    (
        0x0100,
        b"AaAaAaCcCcCcCcDdDdEeEeEeEeEeGgGgGgGgHhHhIiIiIiIiIi\0\0JjKk\0LlLlLl\0\0LlNnNnNn\0\0\0OoOoOoOoRrRrRrSsSsSsSsTtTtTtUuUuUuUuUuUuWwYyYZzZzZz\0",
    ),
    (0x02b9, b"'\"\0'"),
    (0x02c4, b"^\0^\0'\0\0`\0_"),
    (0x02dc, b"~"),
    (0x0300, b"`\0^~"),
    (0x2000, b"       \0\0\0\0\0\0\0\0\0--\0--\0\0\0'','\"\"\"\0\0\0.\0.\0."),
    (0x2032, b"'\0\0`\0\0\0<>"),
    (0x2044, b"/"),
    (0x2070, b"0\0\0\x00456789"),
    (0x2080, b"0123456789"),
    (0x2212, b"-\0\0/\\*"),
    (0x2223, b"|"),
    (0x2236, b":\0\0\0\0\0~"),
    (0x3000, b" \0\0\0\0\0\0\0<>"),
    (0xff01, b"!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~"),
];

/// The ASCII a character is folded to.
pub(super) fn ascii(code: u16) -> Option<u8> {
    let after = BLOCKS.partition_point(|(first, _)| *first <= code);
    let (first, block) = BLOCKS.get(after.checked_sub(1)?)?;
    let byte = block.get(usize::from(code - first)).copied()?;
    (byte != 0).then_some(byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_what_looks_like_ascii() {
        let pairs = [
            (0x00a0, ' '),
            (0x00b2, '2'),
            (0x00b3, '3'),
            (0x00b7, '.'),
            (0x00b9, '1'),
            (0x00bb, '>'),
            (0x00c7, 'C'),
            (0x00d8, 'O'),
            (0x00e9, 'e'),
            (0x00ff, 'y'),
            (0x0131, 'i'),
            (0x0142, 'l'),
            (0x0153, 'o'),
            (0x0161, 's'),
            (0x017e, 'z'),
            (0x02b9, '\''),
            (0x02bc, '\''),
            (0x02cb, '`'),
            (0x2010, '-'),
            (0x2014, '-'),
            (0x2018, '\''),
            (0x2019, '\''),
            (0x201a, ','),
            (0x201c, '"'),
            (0x201e, '"'),
            (0x2022, '.'),
            (0x2024, '.'),
            (0x2032, '\''),
            (0x2039, '<'),
            (0x203a, '>'),
            (0x2074, '4'),
            (0x2079, '9'),
            (0x2212, '-'),
            (0x2215, '/'),
            (0x2216, '\\'),
            (0x2217, '*'),
            (0x223c, '~'),
            (0x3008, '<'),
            (0x3009, '>'),
            (0xff07, '\''),
            (0xff1c, '<'),
            (0xff5e, '~'),
        ];
        for (code, expected) in pairs {
            assert_eq!(ascii(code).map(char::from), Some(expected), "U+{code:04X}");
        }
    }

    #[test]
    fn leaves_everything_else() {
        for code in [0x0000, 0x0041, 0x009f, 0x00a3, 0x00d7, 0x0180, 0x1100, 0x2016, 0x4e3c, 0xff00, 0xff5f, 0xffff] {
            assert_eq!(ascii(code), None, "U+{code:04X}");
        }
    }
}
