import { runSuites } from './ways.ts';

runSuites('agent');
