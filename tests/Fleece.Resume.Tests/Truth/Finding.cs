// SPDX-License-Identifier: MIT
namespace Fleece.Resuming.Tests.Truth;

/// <summary>The host has done something that it must not do.</summary>
internal sealed class Finding(string message) : Exception(message);
