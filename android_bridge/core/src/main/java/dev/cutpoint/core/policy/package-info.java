/** What is wanted of an answer, what is believed of the link, and the rule that turns both into a plan. */
package dev.cutpoint.core.policy;
