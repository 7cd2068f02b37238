//! What somebody who mistyped a name may have meant.

use super::settings::{Row, TABLE};

/// A warning about a variable that is no setting.
pub fn unknown(name: &str) -> String {
    let known: Vec<String> = TABLE.iter().map(Row::variable).collect();
    match nearest(name, known.iter().map(String::as_str)) {
        Some(known) => format!("{name} is no setting and is not used; did you mean {known}?"),
        None => format!("{name} is no setting and is not used; see allcores --help"),
    }
}

/// The known word that differs from `word` in the fewest letters, if it is near enough to be meant.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = |candidate: &&str| distance(word, candidate);
    known.min_by_key(near).filter(|candidate| distance(word, candidate) <= 3)
}

/// Levenshtein's distance, over bytes: names are ASCII.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}
