// Preloaded: packages are taken from NMP_MODULES, as the scripts that import them stand outside of it.
import { registerHooks } from 'node:module';
import { pathToFileURL } from 'node:url';

const parentURL = pathToFileURL(process.env.NMP_MODULES + '/').href;
registerHooks({
  resolve(specifier, context, next) {
    const here = context.parentURL?.startsWith(new URL('.', import.meta.url).href);
    return next(specifier, here && /^[@a-z]/.test(specifier) && !specifier.includes(':') ? { ...context, parentURL } : context);
  },
});
