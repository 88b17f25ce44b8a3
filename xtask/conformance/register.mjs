// The suite is written for Node 22. On an older one it lacks `fs.globSync`, which only one of its commands uses that is
// not used here; without this it would not even start. The installed package stays as it is.
import { register } from "node:module";

register("./hooks.mjs", import.meta.url);
