// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Qemu.Qmp;

/// <summary>The answer of a QEMU that refused a command; it travels with the exception.</summary>
/// <param name="Command">The command.</param>
/// <param name="Class">The error's class in QEMU's QMP reference, "QapiErrorClass": mostly <see cref="Generic"/>.</param>
/// <param name="Description">QEMU's sentence for people. It is no part of QEMU's interface, so it differs between versions.</param>
internal sealed record QmpRefusal(string Command, string Class, string Description)
{
    /// <summary>The class of errors without one of their own.</summary>
    public const string Generic = "GenericError";

    /// <summary>The class for a command that this QEMU does not have.</summary>
    public const string CommandNotFound = "CommandNotFound";

    /// <summary>The class for a device that is not there.</summary>
    public const string DeviceNotFound = "DeviceNotFound";

    private const string Key = "Fleece.Qemu.QmpRefusal";

    /// <summary>QEMU's answer behind an exception of kind <see cref="QemuErrors.CommandRefused"/>; null for other exceptions.</summary>
    public static QmpRefusal? Of(BlockException exception) => exception.Data[Key] as QmpRefusal;

    /// <summary>True where QEMU has refused a command because a device is not there.</summary>
    public static bool IsDeviceNotFound(BlockException exception) => Of(exception)?.Class == DeviceNotFound;

    /// <summary>True where QEMU's sentence has these words. QEMU has no classes for what it refuses so.</summary>
    public static bool Says(BlockException exception, string words) =>
        Of(exception)?.Description.Contains(words, StringComparison.OrdinalIgnoreCase) == true;

    /// <summary>The refusal as an exception.</summary>
    public BlockException ToException(string socketPath)
    {
        string kind = Class == Generic ? string.Empty : $" ({Class})";
        BlockException exception = new(
            QemuErrors.CommandRefused,
            $"QEMU at '{socketPath}' refused '{Command}': {Description.TrimEnd('.')}{kind}.",
            socketPath,
            operation: Command);
        exception.Data[Key] = this;
        return exception;
    }
}
