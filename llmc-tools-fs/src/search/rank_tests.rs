//! What is a definition.

use super::*;

/// The name between `<` and `>` is what was found.
#[track_caller]
fn check(marked: &str, expected: bool) {
    let start = marked.find('«').unwrap();
    let end = marked.find('»').unwrap() - '«'.len_utf8();
    let line = marked.replace(['«', '»'], "");
    let names = [by_keyword(&line), by_body(&line), by_assignment(&line)];
    assert_eq!(defines(line.as_bytes(), start..end), expected, "{marked} {names:?}");
}

#[test]
fn definitions_of_many_languages() {
    for line in [
        "fn «open»(path: &str) {",
        "    pub(crate) async unsafe fn «open»<T>(path: T) -> io::Result<()>",
        "pub extern \"C\" fn «open»() {",
        "pub const MAX_«PATH»_BYTES: usize = 4096;",
        "    pub const fn «open»() {}",
        "static «COUNT»: AtomicUsize = AtomicUsize::new(0);",
        "pub static mut «COUNT»: u8 = 0;",
        "macro_rules! «call» {",
        "pub struct «Foo»<'a> {",
        "pub(super) enum «Foo» {",
        "    type «Item» = u8;",
        "«fn open»(path: &str) {",
        "def «load»(self, path):",
        "    async def «load»(self):",
        "class «Loader»(Base):",
        "    def self.«load»(path)",
        "«TIMEOUT» = 30",
        "«TIMEOUT»: int = 30",
        "export default class «Loader» extends Base {",
        "export const «load» = async (path) => {",
        "export async function* «load»() {",
        "function «load»(path) {",
        "    async «load»(path) {",
        "    «constructor»(path) {",
        "export interface «Loader» {",
        "export type «Loader» = {",
        "let «loader» = new Loader();",
        "export declare namespace «Loader» {",
        "func «Load»(path string) error {",
        "func (l *Loader) «Load»(path string) error {",
        "type «Loader» struct {",
        "var «ErrLoad» = errors.New(\"load\")",
        "public static void «main»(String[] args) {",
        "    private final Map<String, List<Foo>> «load»(int a) throws IOException {",
        "@Override public String «toString»() {",
        "public abstract class «Loader» implements Foo {",
        "public record «Point»(int x, int y) {}",
        "data class «Point»(val x: Int)",
        "suspend fun «load»(path: String): Foo {",
        "static int «load»(const char *path) {",
        "static struct foo *«load»(void) {",
        "void Loader::«load»(int a) const {",
        "template <typename T> class «Loader» {",
        "#define «MAX_PATH» 4096",
        "# define «MAX_PATH»(x) (x)",
        "typedef struct «foo» {",
        "enum class «Color» : int {",
        "namespace «llmc» {",
        "public sealed partial class «Loader»",
        "[Serializable] public class «Loader»",
        "defmodule «Loader» do",
        "  defp «load»(path) do",
        "module «Loader»",
        "local function «load»(path)",
        "sub «load» {",
        "«load»() {",
        "create table if not exists «users» (",
        "CREATE OR REPLACE FUNCTION «load»() RETURNS int",
        "protocol «Loader» {",
        "fn «object»() {",
        "    def «data»(self):",
        "pub fn «open»<T>(path: T) {",
    ] {
        check(line, true);
    }
}

#[test]
fn uses_are_not_definitions() {
    for line in [
        "    «open»(path)?;",
        "let file = «open»(path);",
        "    let «file» = open(path);",
        "fn load(«path»: &str) {",
        "pub fn load() -> «Foo» {",
        "impl «Trait» for Foo {",
        "use crate::«open»;",
        "import { «load» } from './load';",
        "// fn «open»(path)",
        "/// The struct «Foo» is for opening",
        " * class «Foo» does",
        "# def «load»",
        "    if «open»(path) {",
        "    } else if «open»(path) {",
        "    while («next»()) {",
        "    return «load»(path) {",
        "    self.«open»(path, |x| {",
        "describe(\"«load»\", () => {",
        "«describe»(\"load\", () => {",
        "    for «file» in files {",
        "class Loader(«Base»):",
        "export default class Loader extends «Base» {",
        "«TIMEOUT» == 30",
        "foo(«TIMEOUT» = 30)",
        "\"class «Foo»\"",
        "<div class=\"«foo»\">",
        "type: «string»",
        "    «type»: string,",
        "insert into «users» values (1)",
        "match «kind» {",
        "switch («kind») {",
        "new «Loader»(path) {",
        "const x = «load»(path);",
        "",
    ] {
        if !line.is_empty() {
            check(line, false);
        }
    }
}

#[test]
fn odd_lines_do_no_harm() {
    for line in [
        "(",
        "fn",
        "fn ",
        "((((",
        "fn (",
        "@",
        "\"",
        "#",
        "#define",
        "create",
        "create ",
        "a:",
        "a:=",
        "=",
        "{",
        "){",
        "(){",
        "static",
        ".",
        "é (",
        "func (é",
        "<<<",
        "pub(",
        "typedef ;",
    ] {
        let _ = defines(line.as_bytes(), 0..line.len());
        let _ = defines(format!("  {line}").as_bytes(), 0..line.len());
    }
    assert!(!defines(b"fn \xFFopen() {", 4..8));
    let long = format!("fn {}() {{", "x".repeat(10_000));
    assert!(defines(long.as_bytes(), 3..10));
    assert!(!defines("é".repeat(400).as_bytes(), 0..1));
}

#[test]
fn tests_are_known_by_their_path() {
    for path in [
        "tests/it/main.rs",
        "src/__tests__/a.ts",
        "a_test.go",
        "test_a.py",
        "a.test.ts",
        "a.spec.js",
        "spec/a_spec.rb",
        "FooTest.java",
        "FooTests.cs",
        "src/list_dir_tests.rs",
        "conftest.py",
        "Test/a.c",
        "pkg/testdata/a.go",
    ] {
        assert_eq!(Place::of(path.as_bytes()), Place::Test, "{path}");
    }
    for path in [
        "src/main.rs",
        "latest.rs",
        "contest.py",
        "attest/a.rs",
        "testing.rs",
        "src/test_util/a.rs",
        "Makefile",
    ] {
        assert_eq!(Place::of(path.as_bytes()), Place::Code, "{path}");
    }
    assert_eq!(Place::of(b"docs/a.md"), Place::Prose);
    assert_eq!(Place::Prose.class(b"class names matter", 6..11), Class::Use);
    assert_eq!(Place::Test.class(b"fn open() {", 3..7), Class::Test);
    assert_eq!(Place::Any.class(b"fn open() {", 3..7), Class::Use);
}
