// SPDX-License-Identifier: MIT
namespace Fleece.Qemu;

/// <summary>The kinds of errors that arise between Fleece, a QEMU that runs a guest, and the guest's agent.</summary>
public static class QemuErrors
{
    /// <summary>No QEMU listens at the monitor's socket: the guest is off, or the path is another.</summary>
    public const string QemuNotRunning = nameof(QemuNotRunning);

    /// <summary>A QEMU listens, and another client holds its monitor, or the monitor does not answer in time.</summary>
    public const string MonitorBusy = nameof(MonitorBusy);

    /// <summary>The socket's peer does not speak QMP, or breaks its rules.</summary>
    public const string NotQmp = nameof(NotQmp);

    /// <summary>QEMU ended, or closed the monitor, in the middle; the message says whether anything is left to clean up.</summary>
    public const string QemuGone = nameof(QemuGone);

    /// <summary>QEMU refused a command; the message has QEMU's reason.</summary>
    public const string CommandRefused = nameof(CommandRefused);

    /// <summary>The guest has no such device.</summary>
    public const string DeviceUnknown = nameof(DeviceUnknown);

    /// <summary>The device can't be fleeced: it has no medium, is read-only, or of a kind that QEMU can't put a filter under.</summary>
    public const string DeviceUnsuitable = nameof(DeviceUnsuitable);

    /// <summary>This QEMU lacks a feature that was asked for, or has a fault that makes it unsafe; the message says which.</summary>
    public const string FeatureMissing = nameof(FeatureMissing);

    /// <summary>The guest would have been paused for longer than allowed; it runs on, and nothing was changed.</summary>
    public const string PauseTooLong = nameof(PauseTooLong);

    /// <summary>The guest's agent is absent, silent, or refused to freeze or thaw.</summary>
    public const string AgentFailed = nameof(AgentFailed);
}
