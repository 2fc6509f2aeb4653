// Preloaded into servers that take no address: they listen on a free port of the loopback interface and print it.
import net from 'node:net';

const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (...args) {
  const ready = args.find((a) => typeof a === 'function');
  return listen.call(this, 0, '127.0.0.1', () => {
    console.log(`LISTENING ${this.address().port}`);
    ready?.();
  });
};
