/** The bundle: what calibration writes and both ends load. docs/bundle.md describes it field by field. */
package dev.cutpoint.core.bundle;
