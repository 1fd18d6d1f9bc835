// SPDX-License-Identifier: MIT
namespace Fleece;

/// <summary>The kinds of errors that arise in cmdlets.</summary>
public static class CmdletErrors
{
    /// <summary>It can lose data, and the user was not asked and has not said -Force.</summary>
    public const string Unconfirmed = nameof(Unconfirmed);
}
