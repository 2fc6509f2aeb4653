// Preloaded into the conformance suite, which has no option for headers: adds NMP_CONFORMANCE_KEY to every request that
// its process sends, through fetch and undici (one dispatcher serves both) and through node:http.
import { createRequire, syncBuiltinESMExports } from 'node:module';
import http from 'node:http';

const name = 'x-api-key';
const key = process.env.NMP_CONFORMANCE_KEY;

if (key) {
  const { getGlobalDispatcher } = createRequire(process.env.NMP_CONFORMANCE_MODULES + '/')('undici');
  const dispatcher = getGlobalDispatcher();
  const dispatch = dispatcher.dispatch;
  dispatcher.dispatch = function (options, handler) {
    return dispatch.call(this, { ...options, headers: withKey(options.headers) }, handler);
  };

  const request = http.request;
  http.request = function (...args) {
    const made = request.apply(this, args);
    if (!made.headersSent && !made.hasHeader(name)) made.setHeader(name, key);
    return made;
  };
  http.get = function (...args) {
    const made = http.request(...args);
    made.end();
    return made;
  };
  syncBuiltinESMExports();
}

// withKey takes headers in any shape that undici takes: a flat list, pairs, or an object.
function withKey(headers) {
  if (Array.isArray(headers) && !Array.isArray(headers[0])) return [...headers, name, key];
  const pairs = headers == null ? [] : typeof headers[Symbol.iterator] === 'function' ? [...headers] : Object.entries(headers);
  return [...pairs.flat(), name, key];
}
