// SPDX-License-Identifier: MIT
using Fleece.Qemu.Guard;

namespace Fleece.Qemu;

/// <summary>What the sessions of guests' disks take from the process that they belong to.</summary>
internal sealed record QemuGuestsOptions
{
    /// <summary>Says how the process is started that guards the instant of a session. It is asked at each one.</summary>
    public required Func<GuardProgram> Guard { get; init; }

    /// <summary>Judges the file for old data before it is made, as <see cref="Disks.SessionOptions.CheckPlace"/>; null for no judge.
    /// </summary>
    public Action<string>? CheckPlace { get; init; }
}
