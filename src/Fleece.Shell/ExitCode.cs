// SPDX-License-Identifier: MIT
namespace Fleece.Shell;

/// <summary>Exit codes of the shell; the two above 63 are those of sysexits.h.</summary>
internal static class ExitCode
{
    /// <summary>The script ran to its end.</summary>
    public const int Success = 0;

    /// <summary>A terminating error ended the script.</summary>
    public const int Failure = 1;

    /// <summary>The command line is wrong.</summary>
    public const int Usage = 64;

    /// <summary>The script does not exist.</summary>
    public const int NoInput = 66;

    /// <summary>A signal ended the script: 128 and the signal's number, as every shell reports it.</summary>
    public static int OfSignal(int number) => 128 + number;
}
