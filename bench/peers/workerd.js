import { answer } from "./fetch.js";

export default { fetch: answer };
