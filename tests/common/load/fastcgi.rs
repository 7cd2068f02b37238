//! As much of FastCGI 1.0 as it takes to ask for one page on a connection of its own.

const BEGIN_REQUEST: u8 = 1;
const END_REQUEST: u8 = 3;
const PARAMS: u8 = 4;
const STDIN: u8 = 5;
const STDOUT: u8 = 6;
/// A record's type, length and padding come first.
const HEADER: usize = 8;

/// Everything that is sent to have this script run.
pub fn request(script: &str) -> Vec<u8> {
    let parameters = [("SCRIPT_FILENAME", script), ("REQUEST_METHOD", "GET"), ("SCRIPT_NAME", "/index.php")];
    let pairs: Vec<u8> = parameters.iter().flat_map(|(name, value)| pair(name, value)).collect();
    // The role is that of a responder, and the connection is closed afterwards.
    let begin = record(BEGIN_REQUEST, &[0, 1, 0, 0, 0, 0, 0, 0]);
    [begin, record(PARAMS, &pairs), record(PARAMS, &[]), record(STDIN, &[])].concat()
}

fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = (content.len() as u16).to_be_bytes();
    [&[1, kind, 0, 1, high, low, 0, 0], content].concat()
}

/// Lengths above 127 take four bytes, of which the first has its highest bit set.
fn pair(name: &str, value: &str) -> Vec<u8> {
    let length = (value.len() as u32 | 1 << 31).to_be_bytes();
    [&[name.len() as u8], length.as_slice(), name.as_bytes(), value.as_bytes()].concat()
}

/// What the script wrote; `None` when the answer is not complete.
pub fn page(mut answer: &[u8]) -> Option<String> {
    let mut page = Vec::new();
    loop {
        let header = answer.get(..HEADER)?;
        let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
        let content = answer.get(HEADER..HEADER + length)?;
        match header[1] {
            STDOUT => page.extend_from_slice(content),
            END_REQUEST => return Some(String::from_utf8_lossy(&page).into_owned()),
            _ => {}
        }
        answer = answer.get(HEADER + length + usize::from(header[6])..)?;
    }
}
