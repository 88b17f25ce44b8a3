// `fs` with the one name that Node before 22 does not have.
import * as fs from "node:fs";

export * from "node:fs";
export default fs.default;
export const globSync =
  fs.globSync ??
  (() => {
    throw new Error("fs.globSync needs Node 22");
  });
