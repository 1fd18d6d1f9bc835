// SPDX-License-Identifier: MIT
namespace Fleece.Qemu.Qmp;

/// <summary>A version of QEMU. Features are found by its schema; the version only tells known faults.</summary>
/// <param name="Major">The first number.</param>
/// <param name="Minor">The second.</param>
/// <param name="Micro">The third.</param>
internal readonly record struct QemuVersion(int Major, int Minor, int Micro) : IComparable<QemuVersion>
{
    /// <inheritdoc/>
    public int CompareTo(QemuVersion other) => (Major, Minor, Micro).CompareTo((other.Major, other.Minor, other.Micro));

    /// <summary>True for an earlier version than the named one.</summary>
    public bool IsBefore(int major, int minor, int micro = 0) => CompareTo(new QemuVersion(major, minor, micro)) < 0;

    /// <summary>"7.2.22".</summary>
    public override string ToString() => $"{Major}.{Minor}.{Micro}";
}
