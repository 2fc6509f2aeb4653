// The HTTP API behind the converted service of the conformance run. Prints its port on a line of its own.
import http from 'node:http';

const png = Buffer.from('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==', 'base64');
// A WAVE file of no samples: RIFF header, PCM format, empty data.
const wav = Buffer.from('UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQAAAAA=', 'base64');

const server = http.createServer((request, response) => {
  const answer = (status, type, body) => response.writeHead(status, { 'Content-Type': type }).end(body);
  switch (new URL(request.url, 'http://api').pathname) {
    case '/text':
      return answer(200, 'text/plain', 'This is a simple text response for testing.');
    case '/image':
      return answer(200, 'image/png', png);
    case '/audio':
      return answer(200, 'audio/wav', wav);
    case '/file':
      return answer(200, 'application/zip', Buffer.from('504b0506000000000000000000000000000000000000', 'hex'));
    case '/steps': // an answer in pieces, one line each
      response.writeHead(200, { 'Content-Type': 'application/x-ndjson' });
      for (const step of [1, 2, 3]) setTimeout(() => response.write(`{"step":${step}}\n`), 50 * step);
      return setTimeout(() => response.end(), 200);
    case '/error':
      return answer(500, 'text/plain', 'This tool intentionally returns an error for testing');
    default:
      return answer(404, 'application/json', '{"message":"no such thing"}');
  }
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
