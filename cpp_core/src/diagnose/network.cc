#include "diagnose/network.h"

#include <utility>

#include "core_error.h"

namespace heal {
namespace {

// False for NaN too.
bool IsProbability(double p) { return p >= 0.0 && p <= 1.0; }

// Counting sort of links by one of their ends; stable.
void Group(std::span<const Link> links, int Link::*end, size_t n, std::vector<Link>* out,
           std::vector<size_t>* begin) {
  begin->assign(n + 1, 0);
  for (const Link& link : links) ++(*begin)[static_cast<size_t>(link.*end) + 1];
  for (size_t i = 0; i < n; ++i) (*begin)[i + 1] += (*begin)[i];
  std::vector<size_t> next(begin->begin(), begin->end() - 1);
  out->resize(links.size());
  for (const Link& link : links) (*out)[next[static_cast<size_t>(link.*end)]++] = link;
}

}  // namespace

Network::Network(std::vector<double> leaks, std::span<const Link> links) : leaks_(std::move(leaks)) {
  Check(links);
  Group(links, &Link::effect, leaks_.size(), &by_effect_, &effect_begin_);
  Group(links, &Link::cause, leaks_.size(), &by_cause_, &cause_begin_);
  RefuseDuplicates();
}

void Network::Check(std::span<const Link> links) const {
  for (double leak : leaks_) {
    if (!IsProbability(leak)) throw GraphError("leak outside [0, 1]");
  }
  for (const Link& link : links) {
    const bool known = link.cause >= 0 && link.cause < size() && link.effect >= 0 && link.effect < size();
    if (!known) throw GraphError("link between unknown nodes");
    if (!IsProbability(link.strength)) throw GraphError("strength of a link outside [0, 1]");
  }
}

// A factor has each variable once, so a pair may be linked once.
void Network::RefuseDuplicates() const {
  std::vector<int> seen_for(leaks_.size(), -1);
  for (int node = 0; node < size(); ++node) {
    for (const Link& link : causes(node)) {
      int& seen = seen_for[static_cast<size_t>(link.cause)];
      if (seen == node || link.cause == node) throw GraphError("duplicate link or link of a node to itself");
      seen = node;
    }
  }
}

void Network::MarkAncestors(std::vector<char>* marks) const {
  std::vector<int> open;
  for (int node = 0; node < size(); ++node) {
    if ((*marks)[static_cast<size_t>(node)]) open.push_back(node);
  }
  while (!open.empty()) {
    const int node = open.back();
    open.pop_back();
    for (const Link& link : causes(node)) {
      char& mark = (*marks)[static_cast<size_t>(link.cause)];
      if (!mark) open.push_back(link.cause);
      mark = 1;
    }
  }
}

void Network::MarkDescendants(std::vector<char>* marks) const {
  std::vector<int> open;
  for (int node = 0; node < size(); ++node) {
    if ((*marks)[static_cast<size_t>(node)]) open.push_back(node);
  }
  while (!open.empty()) {
    const int node = open.back();
    open.pop_back();
    for (const Link& link : effects(node)) {
      char& mark = (*marks)[static_cast<size_t>(link.effect)];
      if (!mark) open.push_back(link.effect);
      mark = 1;
    }
  }
}

}  // namespace heal
