// SPDX-License-Identifier: MIT
namespace Fleece.Qemu.Guard;

/// <summary>How the process that guards an instant is started.</summary>
/// <param name="Path">The program.</param>
/// <param name="Arguments">Its arguments.</param>
internal sealed record GuardProgram(string Path, IReadOnlyList<string> Arguments);
